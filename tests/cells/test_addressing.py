import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etm_jax.cells._heads import (
    circular_shift,
    content_weighting,
    is_last,
    masked_softmax,
    sharpen,
    shift_down,
    shift_up,
)


def active(count, size):
    return jnp.arange(size) < count


def test_masked_softmax_shares_the_mass_among_active_entries_only():
    weights = masked_softmax(jnp.log(jnp.array([[1.0, 3.0, 1e30]])), active(2, 3))
    np.testing.assert_allclose(weights, [[0.25, 0.75, 0.0]], rtol=1e-6)
    assert weights[0, 2] == 0


@pytest.mark.parametrize("garbage", [jnp.nan, jnp.inf, -jnp.inf])
def test_masked_softmax_and_its_gradient_never_see_what_stands_in_inactive_entries(garbage):
    logits = jnp.array([0.0, 0.0, garbage])
    value, by_logits = jax.value_and_grad(lambda x: masked_softmax(x, active(2, 3))[0])(logits)
    assert value == 0.5
    np.testing.assert_allclose(by_logits, [0.25, -0.25, 0.0])


def test_masked_softmax_over_nothing_is_all_zero_with_zero_gradient():
    value, by_logits = jax.value_and_grad(lambda x: jnp.sum(masked_softmax(x, active(0, 3)) * x))(jnp.arange(3.0))
    assert value == 0
    np.testing.assert_array_equal(by_logits, [0.0, 0.0, 0.0])


def test_content_weighting_is_a_softmax_of_strength_times_cosine():
    # cosines with (3, 4): 1 with itself whatever its length, 0 with (-4, 3), -1 with its opposite
    memory = jnp.array([[6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0]]).T
    weights = content_weighting(jnp.array([[3.0, 4.0]]), jnp.array([2.0]), memory, active(3, 3))
    powers = np.exp([2.0, 0.0, -2.0])
    np.testing.assert_allclose(weights, [powers / powers.sum()], rtol=1e-6)


def test_content_weighting_gives_each_head_its_own_key_and_strength():
    memory = jnp.eye(2)
    weights = content_weighting(jnp.eye(2)[::-1], jnp.array([0.0, 30.0]), memory, active(2, 2))
    np.testing.assert_allclose(weights, [[0.5, 0.5], [1.0, 0.0]], atol=1e-6)


def test_content_weighting_ignores_slots_that_do_not_exist():
    memory = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).T
    weights = content_weighting(jnp.array([[1.0, 0.0]]), jnp.array([1.0]), memory, active(2, 3))
    np.testing.assert_allclose(weights, [[np.e / (np.e + 1), 1 / (np.e + 1), 0.0]], rtol=1e-5)
    assert weights[0, 2] == 0


@pytest.mark.parametrize(
    ("key", "memory"),
    [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1e-6), (20.0, 1e4)],
    ids=["all zero", "zero key", "zero memory", "first memory", "large"],
)
def test_content_weighting_has_finite_gradients_where_a_cosine_has_none(key, memory):
    def focus(key, strength, memory):
        return content_weighting(key, strength, memory, active(3, 4))[0, 0]

    grads = jax.grad(focus, argnums=(0, 1, 2))(jnp.full((1, 2), key), jnp.array([20.0]), jnp.full((2, 4), memory))
    assert all(np.isfinite(grad).all() for grad in grads)
    np.testing.assert_array_equal(grads[2][:, 3], [0.0, 0.0])  # the slot that does not exist


def test_is_last_marks_the_last_slot_that_exists():
    np.testing.assert_array_equal(is_last(active(3, 5)), [False, False, True, False, False])
    np.testing.assert_array_equal(is_last(active(5, 5)), [False, False, False, False, True])


def test_shifting_by_one_wraps_at_the_last_slot_that_exists():
    weighting = jnp.array([[0.1, 0.2, 0.7, 0.0, 0.0]])
    np.testing.assert_allclose(shift_up(weighting, active(3, 5)), [[0.7, 0.1, 0.2, 0.0, 0.0]])
    np.testing.assert_allclose(shift_down(weighting, active(3, 5)), [[0.2, 0.7, 0.1, 0.0, 0.0]])


def test_circular_shift_worked_by_hand():
    # 0.2 of the mass goes a slot back, 0.5 stays, 0.3 goes a slot on; slot 0 gets 0.2*0.2 + 0.5*0.1 + 0.3*0.4
    shifted = circular_shift(jnp.array([[0.1, 0.2, 0.3, 0.4]]), jnp.array([[0.2, 0.5, 0.3]]), active(4, 4))
    np.testing.assert_allclose(shifted, [[0.21, 0.19, 0.29, 0.31]], rtol=1e-6)


def test_a_head_on_the_last_of_five_slots_moves_on_to_slot_0_whatever_the_padding():
    weighting, one_on = jnp.eye(8)[4][None], jnp.array([[0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(circular_shift(weighting, one_on, active(5, 8)), jnp.eye(8)[0][None])


@pytest.mark.parametrize("num_slots", [5, 6, 7, 8])
@pytest.mark.parametrize("shift_range", [1, 2])
def test_circular_shift_is_a_convolution_modulo_the_slots_that_exist(num_slots, shift_range):
    draws = np.random.default_rng(num_slots)
    weighting = np.zeros((2, 8))
    weighting[:, :num_slots] = draws.dirichlet(np.ones(num_slots), 2)
    shift = draws.dirichlet(np.ones(2 * shift_range + 1), 2)  # another distribution for each head
    expected = np.zeros((2, 8))
    for head in range(2):
        for slot in range(num_slots):
            for distance in range(-shift_range, shift_range + 1):
                source = weighting[head, (slot - distance) % num_slots]
                expected[head, slot] += shift[head, shift_range + distance] * source
    shifted = circular_shift(jnp.asarray(weighting), jnp.asarray(shift), active(num_slots, 8))
    np.testing.assert_allclose(shifted, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(shifted[:, num_slots:], 0.0)


def test_sharpening_squares_and_renormalises():
    sharpened = sharpen(jnp.array([[0.5, 0.25, 0.25]]), jnp.array([2.0]), active(3, 3))
    np.testing.assert_allclose(sharpened, [[2 / 3, 1 / 6, 1 / 6]], rtol=1e-5)


def test_sharpening_by_one_changes_nothing_and_gives_padding_no_mass():
    weighting = jnp.array([[0.6, 0.3, 0.1, 0.0]])
    sharpened = sharpen(weighting, jnp.array([1.0]), active(3, 4))
    np.testing.assert_allclose(sharpened, weighting, rtol=1e-5)
    assert sharpened[0, 3] == 0


@pytest.mark.parametrize("num_slots", [8, 256])
def test_sharpening_a_diffuse_weighting_keeps_its_mass(num_slots):
    # (1/256)^20 underflows float32, so that plain powers would give 0/0 here
    even = jnp.where(active(num_slots, 256), 1 / num_slots, 0.0)[None]
    sharpened = sharpen(even, jnp.array([20.0]), active(num_slots, 256))
    np.testing.assert_allclose(sharpened.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(sharpened, even, rtol=1e-4)


def test_sharpening_a_diffuse_weighting_picks_its_peak():
    # one slot 1.5 times as heavy as the 255 others: 1.5^20 = 3325.26 against 255
    weighting = jnp.ones(256).at[7].set(1.5)
    sharpened = sharpen(weighting[None] / weighting.sum(), jnp.array([20.0]), active(256, 256))
    np.testing.assert_allclose(sharpened[0, 7], 3325.2567 / (3325.2567 + 255), rtol=1e-3)


@pytest.mark.parametrize("slot", [0, 2, 4])
def test_shifting_and_sharpening_a_one_hot_weighting_has_finite_gradients(slot):
    def heaviest(weighting, shift, sharpening):
        shifted = circular_shift(weighting, shift, active(5, 8))
        return jnp.sum(sharpen(shifted, sharpening, active(5, 8)) @ jnp.arange(8.0))

    arguments = jnp.eye(8)[slot][None], jnp.array([[0.0, 0.0, 1.0]]), jnp.array([21.0])
    value, grads = jax.value_and_grad(heaviest, argnums=(0, 1, 2))(*arguments)
    np.testing.assert_allclose(value, (slot + 1) % 5, atol=1e-5)
    assert all(np.isfinite(grad).all() for grad in grads)
    np.testing.assert_array_equal(grads[0][0, 5:], 0.0)
