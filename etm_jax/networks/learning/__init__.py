"""Learning: the fast loop of one individual, its optimisers, and how it is scored."""

from etm_jax.networks.learning._config import LifetimeConfig as LifetimeConfig
from etm_jax.networks.learning._gradient import batch_loss as batch_loss
from etm_jax.networks.learning._gradient import gradient_step as gradient_step
from etm_jax.networks.learning._gradient import learn as learn
from etm_jax.networks.learning._lifetime import Lifetime as Lifetime
from etm_jax.networks.learning._lifetime import default_micro_batch as default_micro_batch
from etm_jax.networks.learning._lifetime import for_networks as for_networks
from etm_jax.networks.learning._lifetime import learnable as learnable
from etm_jax.networks.learning._optimisers import OPTIMISERS as OPTIMISERS
from etm_jax.networks.learning._optimisers import OptimiserKind as OptimiserKind
from etm_jax.networks.learning._optimisers import make_chain as make_chain
from etm_jax.networks.learning._score import examine_network as examine_network
from etm_jax.networks.learning._score import held_out_scores as held_out_scores
from etm_jax.networks.learning._score import score as score
