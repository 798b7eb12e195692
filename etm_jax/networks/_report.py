"""What the report shows of a network at work: an episode, and where its heads read and write."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from etm_jax.cells import MemoryNetwork
from etm_jax.environment import EnvironmentSuite, Suite
from etm_jax.report._section import Section
from etm_jax.report._trace import Trace, acting_sections, check_channels, played, trace_of, trace_section
from etm_jax.task import TaskSuite


def sections(model: MemoryNetwork, suite: Suite, run: Path, who: str = "champion") -> list[Section]:
    """One episode of the suite's first task or environment; pictures go into the run folder, too.

    Raises:
        ValueError: the network was not made for this suite.
    """
    lived = trace(model, suite)
    if isinstance(suite, EnvironmentSuite):
        return acting_sections(model, suite, run, lived)
    return [trace_section(lived, suite.names[0], who)]


def trace(model: MemoryNetwork, suite: Suite) -> Trace:
    """One episode of the suite's first task or environment, at its greatest length.

    Raises:
        ValueError: the network was not made for this suite.
    """
    check_channels(model, suite)
    if isinstance(suite, EnvironmentSuite):
        lived = played(model, suite, 1)
        acted = trace_of(suite, lived)
        weightings = nnx.jit(MemoryNetwork.unroll)(model, suite.as_inputs(0, lived.observations)).weightings
        end = acted.reads.shape[-1]
        return Trace(acted.channels, *_by_head(model, weightings[0, :end]))
    return _answered(model, suite)


def _answered(model: MemoryNetwork, suite: TaskSuite) -> Trace:
    task = suite.tasks[0]
    hardest = jnp.ones(len(suite.tasks))
    episode = jax.jit(lambda key: suite.longer(1).sample(key, 1, hardest))(jax.random.key(0))
    logits, weightings, _ = nnx.jit(MemoryNetwork.unroll)(model, episode.inputs[:1])
    valid = np.asarray(episode.step_valid[0])
    end = int(np.flatnonzero(valid)[-1]) + 1 if valid.any() else task.num_steps

    def due(values: jax.Array) -> np.ndarray:
        return np.where(valid[:, None], np.asarray(values), np.nan)[:end, : task.output_size].T

    channels = {
        "Inputs": np.asarray(episode.inputs[0, :end, : task.input_size]).T,
        "Targets": due(episode.targets[0]),
        "Outputs": due(jax.nn.sigmoid(logits[0])),
    }
    return Trace(channels, *_by_head(model, weightings[0, :end]))


def _by_head(model: MemoryNetwork, weightings: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """The weightings [time head slot] of the read heads and of the write heads, each [head slot time]."""
    num_reads = int(model.architecture["num_read_heads"])
    heads = np.moveaxis(np.asarray(weightings), 0, -1)
    return heads[:num_reads], heads[num_reads:]
