"""The champion in the environments of its run, and the picture of where it went."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etm_jax.environment import EnvironmentSuite, Rollout
from etm_jax.report._draw import ACCENT, FAILED, MUTED, SETTINGS, to_svg
from etm_jax.report._section import Key, Section

EPISODES = 4  # drawn
FIRST = 0  # the environment that is shown


def played(model: Any, suite: EnvironmentSuite, episodes: int) -> Rollout:
    """Episodes of the suite's first environment, at its greatest difficulty; the model acts by its `policy()`."""
    hardest, key = jnp.ones(len(suite.names)), jax.random.key(0)

    def play(key: jax.Array) -> Rollout:
        start, step = model.policy()
        return suite.rollouts(key, start, step, episodes, hardest)[FIRST]

    return jax.jit(play)(key)


def has_places(suite: EnvironmentSuite) -> bool:
    """Whether there is something to draw."""
    return hasattr(suite.environments[FIRST], "place") and hasattr(suite.environments[FIRST], "outline")


def path_section(model: Any, suite: EnvironmentSuite, png: Path) -> Section:
    """Where the champion went in a few episodes; the same picture is saved as a PNG file."""
    lived = played(model, suite, EPISODES)
    rewards = np.asarray(lived.total_reward)

    def draw(figure: Figure) -> None:
        for episode, axes in enumerate(figure.subplots(1, EPISODES)):
            draw_path(axes, suite, lived, episode)
            axes.set_title(f"reward {rewards[episode]:.2f}")

    alt = f"Path of the champion in {EPISODES} episodes of {suite.names[FIRST]}, rewards " + ", ".join(
        f"{reward:.2f}" for reward in rewards
    )
    size = (2.4 * EPISODES, 2.8)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
        draw(figure)
        figure.savefig(png)
    return Section(
        title="Where the champion goes",
        reading=f"Seen from above, in {EPISODES} episodes of {suite.names[FIRST]} that evolution has not drawn.",
        panels=(to_svg(draw, size, f"{alt}."),),
        keys=(Key("path", ACCENT, "line"), Key("end", FAILED, "cross")),
    )


def draw_path(axes: Axes, suite: EnvironmentSuite, lived: Rollout, episode: int) -> None:
    """One episode: the outline, the path, a cross where it ends."""
    environment: Any = suite.environments[FIRST]
    end = int(np.sum(lived.step_valid[episode]))
    states = jax.tree.map(lambda leaf: leaf[episode], lived.states)
    path = np.asarray(jax.vmap(environment.place)(states))[:end]
    start = jax.tree.map(lambda leaf: leaf[0], states)
    for line in environment.outline(start):
        axes.plot(*np.asarray(line).T, color=MUTED, linewidth=0.8)
    axes.plot(*path.T, color=ACCENT, linewidth=1.0)
    axes.plot(*path[-1], "x", color=FAILED)
    axes.set_aspect("equal")
    axes.set_axis_off()
