"""An episode of a task, or a random walk in an environment, as a readable table."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jax
import numpy as np
from rich.table import Table
from rich.text import Text

from etm_jax.environment import Environment, rollout
from etm_jax.task import Episode, Task, before_end

BITS = {-1.0: "-", 0.0: "·", 1.0: "1"}
MOST_BITS = 64  # shown side by side; of wider groups only the indices of nonzero bits are shown
NOTHING = BITS[0.0]


def episode_table(task: Task, episode: Episode) -> Any:
    """The first episode of a batch, one row per step: inputs and targets, up to the last answer.

    A task's own `show(episode)` replaces this. Otherwise bits are shown side by side and other numbers in digits. The
    symbols of a task with `num_symbols` are shown as numbers, or as characters if it has an `alphabet`; so are those of
    the inputs, if their first channels have the layout of the answers.

    Returns:
        Anything that rich can print.
    """
    if hasattr(task, "show"):
        return getattr(task, "show")(episode)  # noqa: B009 (no part of the protocol)
    end = int(np.sum(np.asarray(before_end(episode))[0]))
    valid = np.asarray(episode.step_valid)[0, :end]
    inputs, targets = (np.asarray(channels)[0, :end] for channels in (episode.inputs, episode.targets))
    num_symbols = int(getattr(task, "num_symbols", 0))
    alphabet = str(getattr(task, "alphabet", ""))
    places = targets.shape[1] // num_symbols if num_symbols else 0
    alike = inputs.shape[1] >= targets.shape[1]
    seen_words = in_words(inputs, num_symbols, places if alike else 0, alphabet)
    due_words = in_words(targets, num_symbols, places, alphabet)
    table = table_of(("step", "input", "due"))
    for step, (seen, due) in enumerate(zip(seen_words, due_words, strict=True)):
        table.add_row(str(step), Text(seen), Text(due if valid[step] else ""))
    return table


def in_words(channels: np.ndarray, num_symbols: int = 0, places: int = 0, alphabet: str = "") -> list[str]:
    """One text per row of [time channel]: one-hot symbols in the first places, then bits and numbers."""
    groups = np.split(channels[:, : num_symbols * places], places, axis=1) if places else []
    if not all(is_one_hot(group) for group in groups):
        groups = []
    parts = [[symbol(row, alphabet) for row in group] for group in groups]
    first = len(groups) * num_symbols
    are_bits = np.all(np.isin(channels, list(BITS)), axis=0).tolist()
    for bits, indices in groupby(range(first, channels.shape[1]), key=lambda index: are_bits[index]):
        columns = list(indices)
        group = channels[:, columns]
        parts.append(as_bits(group, columns[0]) if bits else [" ".join(f"{x:5.2f}" for x in row) for row in group])
    return [" ".join(texts) for texts in zip(*parts, strict=True)]


def is_one_hot(group: np.ndarray) -> bool:
    """True if every row has at most one 1 and otherwise zeros."""
    return bool(np.isin(group, (0, 1)).all() and (group.sum(axis=1) <= 1).all())


def symbol(row: np.ndarray, alphabet: str) -> str:
    """Character or number of a one-hot row."""
    if not row.any():
        return NOTHING
    number = int(np.argmax(row))
    if len(alphabet) != row.size:
        return str(number)
    return "␣" if alphabet[number] == " " else repr(alphabet[number])[1:-1]


def as_bits(group: np.ndarray, first: int) -> list[str]:
    """Rows of -1, 0 and 1, one character each; with many channels the indices of nonzero ones, counted from `first`."""
    if group.shape[1] <= MOST_BITS:
        return ["".join(BITS[float(value)] for value in row) for row in group]
    signs = {-1.0: "-", 1.0: ""}
    return [" ".join(f"{signs[float(row[i])]}{first + i}" for i in np.flatnonzero(row)) or NOTHING for row in group]


def walk_table(environment: Environment, key: jax.Array) -> Any:
    """One episode of random actions, one row per step: observation, action, reward.

    An environment's `observed` and `actions`, if it has them, name the channels and the logits.
    """
    key_episode, key_actions = jax.random.split(key)

    def at_random(key: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        del observation
        key, key_action = jax.random.split(key)
        return key, jax.random.normal(key_action, (environment.output_size,))

    walk = jax.jit(lambda: rollout(environment, key_episode, key_actions, at_random, 1))()
    observed = named(getattr(environment, "observed", ()), environment.input_size)
    actions = named(getattr(environment, "actions", ()), environment.output_size)
    table = table_of(("step", "seen", "action", "reward"))
    for step in range(int(np.sum(walk.step_valid))):
        seen = zip(observed, np.asarray(walk.observations[0, step]), strict=True)
        words = ", ".join(name if value == 1 else f"{name} {value:.3g}" for name, value in seen if value != 0)
        chosen = action_text(np.asarray(walk.logits[0, step]), actions, getattr(environment, "continuous", False))
        table.add_row(str(step), Text(words or NOTHING), Text(chosen), f"{float(walk.rewards[0, step]):g}")
    table.add_section()
    table.add_row("", "", "total", f"{float(walk.total_reward[0]):g}")
    return table


def action_text(logits: np.ndarray, actions: Sequence[str], continuous: bool) -> str:
    """An action as text: the choice, or the numbers."""
    if not continuous:
        return actions[int(np.argmax(logits))]
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(actions, np.clip(logits, -1, 1), strict=True))


def named(names: Sequence[str], count: int) -> Sequence[str]:
    """The names, or indices if there are none."""
    return names if len(names) == count else [str(index) for index in range(count)]


def table_of(titles: Sequence[str]) -> Table:
    """An empty table with these columns."""
    table = Table(title_justify="left")
    for title in titles:
        table.add_column(title, justify="right" if title in ("step", "reward") else "left", no_wrap=True)
    return table
