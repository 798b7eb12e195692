"""Run folders: settings, rows, checkpoints, the best model."""

from etm_jax.runs._checkpoint import CheckpointError as CheckpointError
from etm_jax.runs._checkpoint import Checkpoints as Checkpoints
from etm_jax.runs._checkpoint import check_path as check_path
from etm_jax.runs._folder import RunFolder as RunFolder
from etm_jax.runs._history import GenerationRecord as GenerationRecord
from etm_jax.runs._history import History as History
