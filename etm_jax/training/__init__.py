"""Training: one fixed network, an optimiser that is never reset or a strategy, a curriculum, checkpoints."""

from etm_jax.training._chunk import ChunkRecord as ChunkRecord
from etm_jax.training._chunk import TrainState as TrainState
from etm_jax.training._chunk import chunk as chunk
from etm_jax.training._chunk import init as init
from etm_jax.training._chunk import network_of as network_of
from etm_jax.training._config import NetworkConfig as NetworkConfig
from etm_jax.training._config import StrategyConfig as StrategyConfig
from etm_jax.training._config import TrainConfig as TrainConfig
from etm_jax.training._config import strategies as strategies
from etm_jax.training._run import TrainingOutcome as TrainingOutcome
from etm_jax.training._run import summarise as summarise
from etm_jax.training._run import train as train
from etm_jax.training._strategy import WeightStrategy as WeightStrategy
from etm_jax.training._strategy import make_strategy as make_strategy
from etm_jax.training._training import Training as Training
from etm_jax.training._training import make_training as make_training
