"""Checkpoints of a run with Orbax: atomic, a few kept, damaged ones skipped with a warning."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

logger = logging.getLogger(__name__)

KEPT = 3
GLOBBING = "*?[]\\"  # Orbax looks for its files with patterns, and a path with these is one itself
State = TypeVar("State")  # a pytree with a key and a counter
FORMAT = "etm_jax/1"


class CheckpointError(ValueError):
    """No checkpoint of a folder can be used."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are; made by the first `save`.
        settings: what the run was made of, as text; a checkpoint of other settings is foreign.
        counter: the field of a state that counts how far the run has got.

    Raises:
        ValueError: Orbax cannot keep anything in a folder of that path.
    """

    def __init__(self, folder: Path, settings: str, counter: str = "generation"):
        check_path(folder)
        self._settings, self._counter, self._read_back = settings, counter, False
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, state: Any) -> None:
        """Write the state; it is there whole or not at all. Saving at the same count again changes nothing.

        The first one is read back, so a run whose checkpoints cannot be read ends before it begins.

        Raises:
            CheckpointError: it cannot be written, or not be read back.
        """
        done = int(getattr(state, self._counter))
        if done in self._manager.all_steps():
            return
        about = {"format": FORMAT, "settings": self._settings}
        named = _storable(state)
        if jax.process_count() == 1:  # Orbax would compile a slice for each shape of a sharded array
            named = {name: np.asarray(leaf) for name, leaf in named.items()}
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(named), about=ocp.args.JsonSave(about))
        try:
            self._manager.save(done, args=arguments)
            self._manager.wait_until_finished()
            if not self._read_back:
                self._read(done, state)
        except jax.errors.JaxRuntimeError:  # another process of a distributed run has gone
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds for a full disk or a lost folder
            raise CheckpointError(
                f"checkpoint {done} cannot be kept in {self._manager.directory}: {_first_line(error)}"
            ) from None
        self._read_back = True

    def restore(self, like: State) -> State | None:
        """The newest state that can be read, on the devices of `like`; None if none was ever saved.

        A checkpoint that is torn or foreign is skipped with a warning, and the one before it is tried.

        Raises:
            CheckpointError: there are checkpoints and none can be used.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._read(step, like)
            except Exception as error:  # Orbax raises many kinds for a damaged folder
                logger.warning("checkpoint %s cannot be used and is skipped: %s", step, _first_line(error))
        if steps:
            raise CheckpointError(
                f"none of the checkpoints {steps} can be read; start a new run, or put back a copy of the folder"
            )
        return None

    def _read(self, step: int, like: State) -> State:
        target = _storable(like)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(_abstract, target)), about=ocp.args.JsonRestore()
        )
        restored: Any = self._manager.restore(step, args=arguments)
        if restored.about.get("format") != FORMAT or restored.about.get("settings") != self._settings:
            raise CheckpointError("it belongs to a run of other settings")
        if int(restored.state[self._counter]) != step:
            raise CheckpointError("its counter does not fit its name")
        return _from_storable(restored.state, like)

    def drop_after(self, count: int) -> None:
        """Delete checkpoints beyond a count: those that a resumed run skipped."""
        for step in self._manager.all_steps():
            if step > count:
                self._manager.delete(step)

    def close(self) -> None:
        """Release what Orbax holds."""
        self._manager.close()


def check_path(folder: Path) -> None:
    """Refuse a folder whose path Orbax reads as a pattern, or that is not valid text.

    Raises:
        ValueError: it is one.
    """
    path = str(folder.resolve())
    wrong = sorted(set(GLOBBING) & set(path))
    if wrong:
        raise ValueError(
            f"the path of a run folder must have none of {' '.join(GLOBBING)}, since its checkpoints could not be read "
            f"again, got {path!r}; choose another folder"
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the path of a run folder must be valid text, got {path!r}; choose another folder") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _storable(state: Any) -> dict[str, Any]:
    """The state as a plain dict of arrays: keys as their bits, arrays of size 0 left out."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(replace(state, key=jax.random.key_data(state.key)))
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return {name: leaf for name, leaf in named.items() if leaf.size}


def _from_storable(stored: dict[str, Any], like: Any) -> Any:
    plain = replace(like, key=jax.random.key_data(like.key))
    leaves, structure = jax.tree_util.tree_flatten_with_path(plain)
    named = [stored.get(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]
    state = jax.tree.unflatten(structure, named)
    return replace(state, key=jax.random.wrap_key_data(state.key))


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
