"""Devices, and batches of individuals on them."""

from etm_jax.parallel._devices import default_batch_size as default_batch_size
from etm_jax.parallel._devices import device_mesh as device_mesh
from etm_jax.parallel._devices import map_in_batches as map_in_batches
from etm_jax.parallel._devices import on_this_process as on_this_process
from etm_jax.parallel._devices import replicated as replicated
from etm_jax.parallel._devices import wait_for_all as wait_for_all
from etm_jax.parallel._platform import use_compile_cache as use_compile_cache
from etm_jax.parallel._platform import use_every_core as use_every_core
