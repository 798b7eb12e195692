"""Array aliases and the glossary of dimension words.

Dimension words used in every shape annotation:

| word | meaning |
|---|---|
| `population` | individuals evaluated together |
| `batch` | episodes |
| `time` | steps of an episode |
| `input`, `output` | channels in and out of a network |
| `unit` | hidden units of the controller |
| `slot`, `width` | memory slots, and the width of one slot |
| `read`, `write` | read heads, write heads |
| `head` | all heads, the read heads first |
| `location` | a head's fields for moving: sharpening, then one logit per shift |
| `gating` | a head's field for choosing between content and location |
| `input_gate`, `unit_gate`, `gate` | sums of the controller's units: over inputs and reads, over units, over both |
| `pondering` | the field that halts a network |
| `window`, `layer`, `attention_head`, `key` | of a window transformer: inputs seen, layers, heads, width of a key |
"""

from typing import Any, TypeAlias, TypeVar, dataclass_transform, no_type_check

from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Key: TypeAlias = PRNGKeyArray
Params: TypeAlias = Any  # a pytree of float arrays, its layout given by the cell's parameter table
Mask: TypeAlias = Any  # the same pytree of bool arrays, True = the weight exists
Scalar: TypeAlias = Float[Array, ""]
IntScalar: TypeAlias = Int[Array, ""]
BoolScalar: TypeAlias = Bool[Array, ""]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=False)
def pytree(kind: type[T]) -> type[T]:
    """`flax.struct.dataclass` without runtime checks of its fields."""
    # JAX rebuilds pytrees with None, shapes, shardings or NumPy arrays in place of the arrays, which the runtime checks
    # of the tests would refuse.
    made = struct.dataclass(kind)
    made.__init__ = no_type_check(made.__init__)
    return made
