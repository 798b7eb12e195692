"""What the sums of a controller's units become when it changes its kind."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from etm_jax.cells import CONTROLLERS, Active, CellSpec, Parameter
from etm_jax.cells._kinds import Controller
from etm_jax.cells._registry import gates_of
from etm_jax.cells._weights import map_table


@functools.cache
def sources(spec: CellSpec) -> dict[str, Int[np.ndarray, "before after place"]]:
    """Where along each axis of gates the sum at a place comes from, by the kinds before and after.

    What enters a unit, such as the candidate of an LSTM, stays that; a gate stays at its place where the kind before
    has a gate there. Beyond the end of the axis = from nowhere.
    """
    gates, kinds = gates_of(spec), list(CONTROLLERS.values())
    axes = {"input_gate": gates.from_inputs, "unit_gate": gates.from_units, "gate": gates.all}

    def table(axis: str, places: tuple[int, ...]) -> Int[np.ndarray, "before after place"]:
        found = [[[_source(axis, was, becomes, place) for place in places] for becomes in kinds] for was in kinds]
        return np.array(
            [[[places.index(p) if p in places else len(places) for p in row] for row in rows] for rows in found], int
        ).reshape(len(kinds), len(kinds), len(places))

    return {axis: table(axis, places) for axis, places in axes.items()}


def _source(axis: str, was: Controller, becomes: Controller, place: int) -> int | None:
    """The place that a sum comes from; None for nowhere."""
    if was is becomes or not (was.entering and becomes.entering):
        return place
    of_inputs, of_units = zip(becomes.entering, was.entering, strict=True)
    moves = {"input_gate": [of_inputs], "unit_gate": [of_units], "gate": [of_inputs]}[axis]
    entering = {*was.entering, *becomes.entering}
    return dict(moves).get(place, None if place in entering else place)


def with_gates_moved(tree: Any, before: Active, after: Active) -> Any:
    """Weights of a network of one kind of controller, or their mask, laid out for another kind; 0 from nowhere."""
    orders = {axis: jnp.asarray(table)[_kind(before), _kind(after)] for axis, table in sources(before.spec).items()}

    def move(parameter: Parameter, array: Array) -> Array:
        for position, axis in enumerate(parameter.axes):
            if axis in orders:
                array = jnp.take(array, orders[axis], axis=position, mode="fill", fill_value=0)
        return array

    return map_table(move, tree)


def _kind(active: Active) -> Int[Array, ""]:
    return jnp.argmax(active.controller)
