"""What optax asks of a contributed optimiser, of every AE transformation: wrappers, odd parameters, shardings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_trees_close, assert_trees_equal
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ready_chains import READY
from test_ae_transform import CHAINS, PARAMS, bowl, every_chain, one_step, rosenbrock, walk

from etm_jax import ae


@pytest.mark.parametrize("chain", [name for name in CHAINS if name not in ("ae_sgdm", "ae_adam")])
def test_a_parabola_is_solved_by_the_rest_of_the_chains(chain):
    (params, _), trace = jax.jit(lambda: walk(CHAINS[chain](), 1500))()
    # the noise law leaves the parameters where its own steps are as long as the optimiser's
    assert float(bowl(params)) < (1e-3 if "noise" not in chain else 1e-2)
    assert int(trace["skipped"][-1]) == 0


# Not by those whose weight decay moves: it moves the optimum.
@pytest.mark.parametrize("chain", ["ae_sgdm", "ae_schedule_free_adamw", "ae_curriculum"])
def test_rosenbrock_is_solved_by_the_rest_of_the_chains(chain):
    (x, _), _ = jax.jit(lambda: walk(CHAINS[chain](), 30_000, jnp.asarray([-1.2, 1.0]), rosenbrock))()
    np.testing.assert_allclose(x, [1, 1], atol=3e-2)


@every_chain
def test_accumulated_gradients_are_one_step_of_their_mean(make):
    accumulated, plain = optax.MultiSteps(make(), every_k_schedule=2), make()
    state, plain_state = accumulated.init(PARAMS), plain.init(PARAMS)
    gradients = [jax.tree.map(lambda leaf, by=by: by * leaf, PARAMS) for by in (1.0, 3.0)]
    update = jax.jit(lambda gradient, state: accumulated.update(gradient, state, PARAMS, value=2.0))
    nothing, state = update(gradients[0], state)
    updates, state = update(gradients[1], state)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(nothing))
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 2, *gradients)
    expected, plain_state = jax.jit(lambda g, s: plain.update(g, s, PARAMS, value=2.0))(mean, plain_state)
    assert_trees_close(updates, expected, rtol=1e-5, atol=1e-8)
    assert_trees_close(ae.monitor(state), ae.monitor(plain_state), rtol=1e-5, atol=1e-7)


@every_chain
def test_what_is_shaped_like_the_parameters_can_be_mapped_over(make):
    tx = make()
    state = tx.init(PARAMS)
    marked = optax.tree.map_params(tx, lambda leaf: "like a parameter", state)
    like = [leaf for path, leaf in jax.tree.leaves_with_path(state) if str(path[-1]) in ("['w']", "['b']")]
    found = [leaf for leaf in jax.tree.leaves(marked) if isinstance(leaf, str)]
    assert len(found) == len(like) >= 2
    assert_trees_equal(ae.monitor(marked), ae.monitor(state))


@pytest.mark.parametrize("chain", ["ae_adam", "ae_adamw, noise", "optax.lion, stored direction"])
def test_parameters_may_lie_in_any_container(chain):
    """Tuples, lists, scalars and places that hold nothing; the same numbers take the same steps."""
    tx = CHAINS[chain]()
    flat = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(0.5)}
    nested = ([flat["a"], None], {"empty": {}, "inner": (flat["b"], ())})
    state, nested_state = tx.init(flat), tx.init(nested)
    step = jax.jit(functools.partial(one_step, tx))
    for _ in range(2):
        flat, state = step(flat, state)
        nested, nested_state = step(nested, nested_state)
    assert jax.tree.structure(nested) == jax.tree.structure(([0, None], {"empty": {}, "inner": (0, ())}))
    if ae.find(state).key is None:  # draws depend on the tree
        assert_trees_close(jax.tree.leaves(nested), [flat["a"], flat["b"]], rtol=1e-6)


@every_chain
def test_without_any_parameter_there_is_nothing_to_update(make):
    tx = make()
    state = tx.init({})
    updates, state = jax.jit(lambda state: tx.update({}, state, {}, value=1.0))(state)
    assert updates == {}
    assert int(ae.find(state).skipped) == 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(ae.monitor(state)))


@every_chain
def test_complex_parameters_are_a_clear_error(make):
    """Norms and cosines are those of real vectors; half of a gradient must not be dropped in silence."""
    with pytest.raises(ValueError, match="real"):
        make().init({"w": jnp.asarray([1.0 + 2.0j])})


@pytest.mark.parametrize("name", READY)
def test_a_schedule_for_what_the_laws_move_is_a_clear_error(name):
    with pytest.raises(ValueError, match="learning_rate is moved by the laws; give it a number"):
        READY[name](optax.linear_schedule(1.0, 0.0, 10))


def test_a_schedule_for_what_the_laws_leave_alone_is_followed():
    schedule = optax.join_schedules([optax.constant_schedule(0.0), optax.constant_schedule(0.1)], [2])
    tx = ae.adaptive_evolution(optax.sgd, ("momentum",), gauge="none")(schedule, momentum=0.9)
    params, state = PARAMS, tx.init(PARAMS)
    moved = []
    for _ in range(3):
        after, state = one_step(tx, params, state)
        moved.append(bool(np.any(after["b"] != params["b"])))
        params = after
    assert moved == [False, False, True]


SHARDED = ("ae_adamw, noise", "optax.lion, stored direction", "ae_schedule_free_adamw")


@pytest.mark.parametrize(
    ("chain", "kind"),
    [
        *((chain, AxisType.Explicit) for chain in SHARDED),
        ("ae_adam", AxisType.Auto),
        *(pytest.param(chain, AxisType.Explicit, marks=pytest.mark.slow) for chain in CHAINS if chain not in SHARDED),
        pytest.param("optax.lion, stored direction", AxisType.Auto, marks=pytest.mark.slow),
    ],
)
def test_state_and_updates_are_sharded_like_the_parameters(chain, kind):
    """Sharded by rows; by columns, and large enough to be sampled; and on every device."""
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(kind,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    specs = {"w": ("devices", None), "large": (None, "devices"), "b": (None,)}
    shardings = {name: NamedSharding(mesh, PartitionSpec(*spec)) for name, spec in specs.items()}
    tx = CHAINS[chain]()

    def like_params(path):
        return shardings.get(getattr(path[-1], "key", None), everywhere)

    def check(tree):
        for path, leaf in jax.tree.leaves_with_path(tree):
            same = leaf.sharding.is_equivalent_to(like_params(path), leaf.ndim)
            assert same, (jax.tree_util.keystr(path), leaf.sharding)

    with jax.set_mesh(mesh):
        params = {"w": jnp.ones((4, 2)), "large": jnp.ones((8, 1024)), "b": jnp.ones(2)}
        params = {name: jax.device_put(leaf, shardings[name]) for name, leaf in params.items()}
        shapes = jax.eval_shape(tx.init, params)
        # in Auto mode zeros know nothing of the parameters' sharding, in any optimiser of optax
        out = jax.tree.map_with_path(lambda path, _: like_params(path), shapes) if kind == AxisType.Auto else None
        state = jax.jit(tx.init, out_shardings=out)(params)
        check(state)

        @jax.jit
        def step(params, state):
            traced.append(1)
            gradient = jax.tree.map(lambda leaf: leaf / 2, params)
            updates, state = tx.update(gradient, state, params, value=1.0)
            return updates, optax.apply_updates(params, updates), state

        traced = []
        for _ in range(2):
            updates, params, state = step(params, state)
            check((updates, state))
        assert len(traced) == 1
