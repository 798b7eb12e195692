"""Reports of runs: one self-contained HTML page made from a run folder. Figures need the `plot` extra."""

from etm_jax.report._report import write_report as write_report
from etm_jax.report._report import write_training_report as write_training_report
