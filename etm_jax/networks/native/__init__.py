"""Networks at live sizes on a CPU: a C++ kernel behind `unroll`, compiled where it is used; see README.md."""

from etm_jax.networks.native._backend import Backend as Backend
from etm_jax.networks.native._backend import NativeSetting as NativeSetting
from etm_jax.networks.native._backend import as_served as as_served
from etm_jax.networks.native._backend import choose_backend as choose_backend
from etm_jax.networks.native._build import library as library
from etm_jax.networks.native._call import LiveWeights as LiveWeights
from etm_jax.networks.native._call import at_live_size as at_live_size
from etm_jax.networks.native._call import live_unroll as live_unroll
from etm_jax.networks.native._call import native_unroll as native_unroll
from etm_jax.networks.native._layout import serves as serves
from etm_jax.networks.native._layout import unserved as unserved
from etm_jax.networks.native._layout import where_served as where_served
from etm_jax.networks.native._layout import why_not as why_not
