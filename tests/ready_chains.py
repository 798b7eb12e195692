"""Every ready chain of `etm_jax.ae`, by its name: a new one is tested by being listed."""

from etm_jax import ae

READY = {
    "ae_sgdm": ae.ae_sgdm,
    "ae_adam": ae.ae_adam,
    "ae_adamw": ae.ae_adamw,
    "ae_schedule_free_adamw": ae.ae_schedule_free_adamw,
    "ae_schedule_free_sgd": ae.ae_schedule_free_sgd,
    "ae_rl": ae.ae_rl,
    "ae_curriculum": ae.ae_curriculum,
    "scale_by_ae": ae.scale_by_ae,
}
SIGNALS = {"value": 2.0, "reward": 1.0, "valid_value": 2.5}  # a reward is what ae_rl needs, and the others take it
