"""All tasks, environments and number functions by name. Listing one here tests it and offers it on the command line."""

import inspect
from typing import Any

from etm_tasks._add_numbers import AddNumbers
from etm_tasks._addition import Addition
from etm_tasks._car import Car
from etm_tasks._cart_pole import CartPole
from etm_tasks._copy import Copy
from etm_tasks._deceptive_maze import DeceptiveMaze
from etm_tasks._double_t_maze import DoubleTMaze
from etm_tasks._functions import Decrement, Doubling, Halving, Increment, PlusTwo, Quadrupling, SumOfTwo
from etm_tasks._inference import Inference
from etm_tasks._logic import Logic
from etm_tasks._n_grams import NGrams
from etm_tasks._parity import Parity
from etm_tasks._priority_sort import PrioritySort
from etm_tasks._recall import AssociativeRecall
from etm_tasks._repeat_copy import RepeatCopy
from etm_tasks._reverse_copy import ReverseCopy
from etm_tasks._shortest_path import ShortestPath
from etm_tasks._t_maze import TMaze
from etm_tasks._traversal import Traversal
from etm_tasks._vocab_copy import VocabCopy
from etm_tasks._vocab_repeat_copy import VocabRepeatCopy

TASKS: dict[str, type[Any]] = {
    "copy": Copy,
    "recall": AssociativeRecall,
    "reverse_copy": ReverseCopy,
    "repeat_copy": RepeatCopy,
    "priority_sort": PrioritySort,
    "n_grams": NGrams,
    "vocab_copy": VocabCopy,
    "vocab_repeat_copy": VocabRepeatCopy,
    "parity": Parity,
    "logic": Logic,
    "addition": Addition,
    "add_numbers": AddNumbers,
    "traversal": Traversal,
    "shortest_path": ShortestPath,
    "inference": Inference,
}
ENVIRONMENTS: dict[str, type[Any]] = {
    "t_maze": TMaze,
    "double_t_maze": DoubleTMaze,
    "cart_pole": CartPole,
    "car": Car,
    "deceptive_maze": DeceptiveMaze,
}
FUNCTIONS: dict[str, type[Any]] = {
    "increment": Increment,
    "plus_two": PlusTwo,
    "decrement": Decrement,
    "doubling": Doubling,
    "quadrupling": Quadrupling,
    "halving": Halving,
    "sum_of_two": SumOfTwo,
}
_KINDS = TASKS | ENVIRONMENTS | FUNCTIONS


def make(name: str, **options: Any) -> Any:
    """Build a task, an environment or a function of numbers by name.

    Args:
        name: a key of `TASKS`, `ENVIRONMENTS` or `FUNCTIONS`.
        options: settings of the task, such as `bits`.

    Returns:
        An `etm_jax.task.Task`, an `etm_jax.environment.Environment`, or an `etm_jax.number_task.NumberTask`.

    Raises:
        ValueError: the name or an option is unknown, or an option has a bad value.

    Example:
        >>> import etm_tasks
        >>> etm_tasks.make("copy", bits=4, max_length=5).num_steps
        11
    """
    known = options_of(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"task {name!r} has no option {unknown[0]!r}; its options are {', '.join(known)}")
    return _KINDS[name](**options)


def options_of(name: str) -> dict[str, Any]:
    """The settings of a task, environment or function, with their defaults.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in _KINDS:
        raise ValueError(f"unknown task {name!r}; the tasks are {', '.join(sorted(_KINDS))}")
    return {key: option.default for key, option in inspect.signature(_KINDS[name]).parameters.items()}
