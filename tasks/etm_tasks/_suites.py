"""Suites from text, as the command line and settings name tasks."""

from collections.abc import Sequence

from etm_jax._require import require, require_positive
from etm_jax.environment import AnySuite, as_suite
from etm_tasks._registry import make, options_of


def make_suite(specs: Sequence[str], bits: int | None = None) -> AnySuite:
    """Weighted tasks, weighted environments, or a function of numbers, each named as `name=weight,option=value`.

    Args:
        specs: one a task.
        bits: the option `bits` of tasks that have it and do not set it; None for the tasks' own.

    Returns:
        A `TaskSuite`, an `EnvironmentSuite` or a `NumberSuite`.

    Raises:
        ValueError: a name or an option is unknown, or has a bad value, or kinds are mixed.

    Example:
        >>> import etm_tasks
        >>> suite = etm_tasks.make_suite(["copy=0.5,max_length=8", "recall=0.3"], bits=4)
        >>> suite.names, suite.weights
        (('copy', 'recall'), (0.5, 0.3))
    """
    parsed = [parse_task(spec) for spec in specs]
    tasks = []
    for name, _, options in parsed:
        if bits is not None and "bits" in options_of(name):
            options = {"bits": bits} | options
        tasks.append(make(name, **options))
    return as_suite(tasks, [weight for _, weight, _ in parsed])


def parse_task(spec: str) -> tuple[str, float, dict[str, int]]:
    """Split `name=weight,option=value` into its parts; the weight is 1 when it is left out.

    Raises:
        ValueError: the text does not have that form.
    """
    head, *rest = spec.split(",")
    name, _, weight = head.partition("=")
    way_out = f"task must look like name=weight,option=value, for example copy=0.5,max_length=8, got {spec!r}"
    try:
        value = float(weight) if weight else 1.0
        options = [(key.strip(), int(number)) for key, number in (item.split("=") for item in rest)]
    except ValueError:
        raise ValueError(way_out) from None
    if not name.strip() or not value > 0:
        raise ValueError(way_out)
    require_positive(f"the weight of task {name.strip()!r}", value)
    keys = [key for key, _ in options]
    for key in keys:
        require(keys.count(key) == 1, f"option {key!r} of task {name.strip()!r}", "given once", spec)
    return name.strip(), value, dict(options)
