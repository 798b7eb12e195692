"""The model em43: automata that compute a function of whole numbers until they halt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from etm_jax._typing import Key, Scalar
from etm_jax.automata._automata import Automata, Automaton
from etm_jax.automata._config import EM43Config
from etm_jax.automata._em43 import EM43
from etm_jax.automata._evolved import EvolvedEM43, digits, save_automaton
from etm_jax.environment import AnySuite
from etm_jax.models._context import Context
from etm_jax.models._model import Evaluation, Result
from etm_jax.number_task import NumberSuite, NumberTask
from etm_jax.parallel._devices import on_each_device, replicated, with_champion


@dataclass(frozen=True)
class NumberAutomata(Automata):
    """`EM43` with programmes of one length, on one function.

    Attributes:
        em: the automaton.
        task: the function.
    """

    behaviours = ()

    em: EM43
    task: NumberTask

    @classmethod
    def of(cls, config: EM43Config, suite: AnySuite) -> "NumberAutomata":
        """The model of these settings on this function.

        Raises:
            ValueError: the suite is none of functions, or a number does not fit the tape.
        """
        task, em = function_of(suite), EM43(config.window, config.max_steps)
        check_fits(em, config.programme_length, task, task.train_inputs())
        return cls(config.variation, num_states=4, num_cells=config.programme_length, em=em, task=task)

    def evaluate(
        self, context: Context, key: Key, genomes: Automaton, champion: Automaton, difficulty: Float[Array, " task"]
    ) -> Evaluation:
        """All numbers that evolution sees, through all genomes; nothing is left to chance. The key is consumed."""
        del key, difficulty
        everyone = with_champion(genomes, champion, context.mesh)
        inputs = jnp.asarray(self.task.train_inputs())

        def compute(genomes: Automaton, inputs: Array) -> Array:
            return self.em.run_population(genomes.rule, genomes.programme, inputs).outputs

        outputs = on_each_device(compute, context.mesh)(everyone, inputs)
        if context.mesh.size > 1:
            outputs = jax.lax.with_sharding_constraint(outputs, replicated(context.mesh))
        result = scores(outputs, self.task)
        validation = result.accuracy[:, 0] + result.performance[:, 0]
        size = context.population_size
        return Evaluation(jax.tree.map(lambda array: array[:size], result), validation[:size], validation[-1])

    def padding_efficiency(self, context: Context, genomes: Automaton) -> Scalar:
        """1: tapes are all of one size."""
        del context, genomes
        return jnp.array(1.0)

    def export(self, genome: Automaton) -> EvolvedEM43:
        """The automaton as a model that takes numbers of any size."""
        return EvolvedEM43(digits(genome.rule), digits(genome.programme), self.em.window, self.em.max_steps)

    def save(self, exported: EvolvedEM43, folder: Path) -> None:
        """Rule and programme as JSON."""
        save_automaton(exported, folder)

    def report(self, genome: Automaton, seed: int) -> dict[str, Any]:
        """The genome's digits, and exactness on numbers that evolution never saw."""
        del seed
        task, model = self.task, self.export(genome)
        near, far = (exactness(model, task, inputs) for inputs in (task.test_inputs(), task.far_inputs()))
        held_out = {
            "episodes": len(task.test_inputs()),
            "accuracy": {task.name: near["exact"]},
            "performance": {task.name: near["performance"]},
            "extra": {
                task.name: {f"{name}_far_beyond": value for name, value in far.items()} | {"steps": near["steps"]}
            },
        }
        size = 0 if self.variation.rule else genome.rule.size
        return {
            "architecture": model.architecture,
            "num_parameters": size + genome.programme.size,
            "held_out": held_out,
        }


def exactness(model: EvolvedEM43, task: NumberTask, inputs: Int[np.ndarray, "batch operand"]) -> dict[str, float]:
    """Share of exact values, performance, and mean steps of the tapes that halt."""
    found = model(inputs)
    error = np.abs(np.asarray(found.outputs) - task.targets(inputs))
    halted, steps = np.asarray(found.halted), np.asarray(found.steps)
    return {
        "exact": float(np.mean(error == 0)),
        "performance": float(1 / (1 + error.mean())),
        "steps": float(steps[halted].mean()) if halted.any() else float("nan"),
    }


def scores(outputs: Int[Array, "population batch"], task: NumberTask) -> Result:
    """Performance 1 / (1 + mean error), accuracy the share of exact values, a case a number.

    What does not halt has an output of -10.
    """
    error = jnp.abs(outputs - jnp.asarray(task.targets(task.train_inputs()))[None])
    loss = jnp.mean(error.astype(float), axis=1)
    return Result(
        performance=1 / (1 + loss)[:, None],
        accuracy=jnp.mean(error == 0, axis=1)[:, None],
        loss=loss,
        finite=jnp.ones(loss.size, bool),
        cases=-error.astype(float),
    )


def function_of(suite: AnySuite) -> NumberTask:
    """The function that automata evolve on.

    Raises:
        ValueError: the suite has none.
    """
    if not isinstance(suite, NumberSuite):
        raise ValueError(
            f"the model em43 evolves on a function of numbers, such as doubling, got {', '.join(suite.names)}"
        )
    return suite.task


def check_fits(model: EM43, length: int, task: NumberTask, inputs: Int[np.ndarray, "batch operand"]) -> None:
    """Refuse a window in which inputs or results have no place.

    Raises:
        ValueError: there is such a number.
    """
    written = inputs.sum(axis=1) + 2 * (inputs.shape[1] - 1)
    # The result of one number is counted from where 0 would be marked, that of two from the marker of the second.
    due = task.targets(inputs) + (written if inputs.shape[1] == 2 else 0)
    most, room = int(max(written.max(), due.max())), model.largest_input(length)
    if most > room:
        raise ValueError(
            f"window must leave room for {most} behind a programme of {length} cells for {task.name}, got a "
            f"window of {model.window}, which has room for {room}; raise it to {model.window + most - room}"
        )
