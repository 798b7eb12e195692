"""Every program lowers for TPUs and NVIDIA GPUs, on a machine that has neither."""

import re

import jax
import jax.numpy as jnp
import pytest
import tiny
from jax import export

from bench._aot import cycles_of, matmul_flops
from etm_jax import ae
from etm_jax.evolution._generation import init, step
from etm_jax.models._model import member
from etm_jax.networks import apply
from etm_jax.networks.learning._gradient import learn
from etm_jax.networks.learning._lifetime import Lifetime
from etm_jax.parallel._devices import replicated

PLATFORMS = ("tpu", "cuda")
# All in one vmap, and by XLA, as on a TPU or a GPU.
WIDE = {"individuals_per_batch": tiny.CONFIG.population_size, "native": "off"}
KEY = jax.eval_shape(lambda: jax.random.key(0))


def exported(function, *shapes):
    return export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)


def custom_calls(module):
    """Targets of custom calls: code of a vendor's library or of one platform."""
    return set(re.findall(r"custom_call @(\w+)", module.mlir_module()))


def first_state():
    return jax.eval_shape(lambda key: init(tiny.problem(**WIDE), key), KEY)


def one_genome():
    return jax.eval_shape(lambda genomes: member(genomes, 0), first_state().population.genomes)


def a_generation():
    problem = tiny.problem(**WIDE)
    whole = replicated(problem.mesh)
    spread = jax.jit(lambda state: step(problem, state), in_shardings=whole, out_shardings=whole)
    return export.export(spread, platforms=PLATFORMS)(first_state())


def an_evaluation():
    problem = tiny.problem(**WIDE, lifetime=tiny.DARWINIAN)
    whole = replicated(problem.mesh)

    def score(key, state):
        return problem.model.evaluate(problem.context, key, state.population.genomes, state.champion, state.difficulty)

    spread = jax.jit(score, in_shardings=whole, out_shardings=whole)
    return export.export(spread, platforms=PLATFORMS)(KEY, first_state())


def a_lifetime_step():
    config = tiny.CONFIG.model
    lifetime = Lifetime(config.bounds, tiny.SUITE, config.lifetime)

    def live(key, genome):
        return learn(lifetime, key, genome, jnp.ones(len(tiny.SUITE.tasks)), 1.0, 1)

    return exported(live, KEY, one_genome())


def an_ntm_forward():
    inputs = jax.ShapeDtypeStruct((6, tiny.SUITE.input_size), jnp.float32)
    return exported(lambda genome, inputs: apply(genome, inputs, tiny.BOUNDS), one_genome(), inputs)


def an_ae_update():
    optimiser, params = ae.ae_adamw(1e-3), jax.ShapeDtypeStruct((3, 2), jnp.float32)

    def update(gradient, state, params, value):
        return optimiser.update(gradient, state, params, value=value)

    state = jax.eval_shape(optimiser.init, params)
    return exported(update, params, state, params, jax.ShapeDtypeStruct((), jnp.float32))


def a_swarm_round():
    swarm = ae.swarm(
        lambda x, batch: jnp.mean((x - batch) ** 2),
        ae.ae_adam(1e-2),
        lambda key: jax.random.normal(key, (4,)),
        num_trajectories=4,
        rounds=2,
        steps_per_round=80,
        floor=10,
        dither=0.1,
    )
    state = jax.eval_shape(lambda key: swarm.init(key, lambda key: jax.random.normal(key, (4,))), KEY)
    return exported(swarm.round, state)


def a_machine_run():
    def plant(params, memory, observation):
        memory = ae.tape.write(memory, params, 0.5)
        return jnp.sum((ae.tape.read(memory) - observation) ** 2), ae.tape.move(memory, jnp.zeros(3), 0.0)

    machine = ae.machine.Machine(
        plant, lambda key, step: jax.random.normal(key, (2,)), ae.ae_adam(1e-3), ae.machine.halt_when(loss_below=1e-3)
    )

    def run(key, params, memory):
        return ae.machine.run(machine, key, params, memory, max_steps=5)

    tape = jax.eval_shape(lambda: ae.tape.Tape(jnp.zeros((4, 2)), jnp.ones(4) / 4))
    return exported(run, KEY, jax.ShapeDtypeStruct((2,), jnp.float32), tape)


PROGRAMS = (a_generation, an_evaluation, a_lifetime_step, an_ntm_forward, an_ae_update, a_swarm_round, a_machine_run)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_lowers_for_every_platform_without_custom_calls(program):
    module = program()
    assert module.platforms == PLATFORMS
    assert custom_calls(module) == set()


SQUARE = jax.ShapeDtypeStruct((3, 3), jnp.float32)


def test_a_call_into_a_vendors_library_would_be_seen():
    targets = custom_calls(exported(lambda matrix: jnp.linalg.svd(matrix)[1], SQUARE))
    assert any(target.startswith("cusolver") for target in targets)


@pytest.mark.parametrize(
    "function",
    [lambda matrix: jax.pure_callback(abs, SQUARE, matrix), lambda matrix: jnp.linalg.eig(matrix)[0]],
    ids=["a callback to the host", "an eigenvalue solver that only CPUs have"],
)
def test_what_does_not_lower_everywhere_is_refused(function):
    with pytest.raises(NotImplementedError):
        exported(function, SQUARE)


def test_matrix_products_count_as_often_as_a_scan_runs_them():
    def function(left, right):
        def body(carry, _):
            product = jax.lax.cond(carry[0, 0] > 0, lambda x: x @ right, lambda x: x, carry)
            return product, None

        return jax.lax.scan(body, left @ right, None, length=7)[0]

    left, right = jax.ShapeDtypeStruct((2, 5), jnp.float32), jax.ShapeDtypeStruct((5, 5), jnp.float32)
    assert matmul_flops(jax.make_jaxpr(function)(left, right).jaxpr) == (1 + 7) * 2 * 2 * 5 * 5


def test_a_matrix_product_in_an_open_loop_cannot_be_counted():
    def function(matrix):
        return jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x, matrix)

    with pytest.raises(ValueError, match="while loop"):
        matmul_flops(jax.make_jaxpr(function)(SQUARE).jaxpr)


HLO = """
%inner (p: f32[]) -> f32[] {
  ROOT %a = f32[] fusion(%p), backend_config={"estimated_cycles":"10"}
}
%body (p: (s32[], f32[])) -> (s32[], f32[]) {
  %b = f32[] fusion(%p), backend_config={"estimated_cycles":"3"}
  %c = f32[] conditional(%k, %b, %b), branch_computations={%inner, %idle}
}
%idle (p: f32[]) -> f32[] {
  ROOT %d = f32[] copy(%p), backend_config={"estimated_cycles":"4"}
}
%test (p: (s32[], f32[])) -> pred[] {
  %limit = s32[]{:T(128)} constant(6)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}
ENTRY %main (p: f32[]) -> f32[] {
  %e = f32[] fusion(%p), backend_config={"estimated_cycles":"100"}
  %w = (s32[], f32[]) while(%t), condition=%test, body=%body
}
"""


def test_cycles_count_as_often_as_a_loop_runs_them():
    assert cycles_of(HLO) == 100 + 6 * (3 + max(10, 4))
    assert cycles_of("ENTRY %main (p: f32[]) -> f32[] {\n}") is None
    with pytest.raises(ValueError, match="count to a constant"):
        cycles_of(HLO.replace("direction=LT", "direction=NE"))
