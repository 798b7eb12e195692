"""The laws one by one: AE-1 against a plain oracle, the others on numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etm_jax import ae
from etm_jax.ae import _laws as laws
from etm_jax.ae._signals import mean_loss, zero_filters, zero_signals

GAINS = ae.default_gains(("learning_rate",))
LOW, HIGH = jnp.asarray([-10.0]), jnp.asarray([10.0])


@pytest.mark.parametrize(
    ("chart", "value", "position"),
    [("log", 0.01, np.log(0.01)), ("horizon", 0.9, np.log(10)), ("horizon", 0.0, 0.0), ("logit", 0.5, 0.0)],
)
def test_charts_and_their_inverses(chart, value, position):
    assert float(ae.to_chart(chart, value)) == pytest.approx(position, abs=1e-6)
    assert float(ae.from_chart(chart, ae.to_chart(chart, value))) == pytest.approx(value, rel=1e-5, abs=1e-6)


class Oracle:
    """AE-1 written out with Python floats, from the equations."""

    def __init__(self):
        self.losses, self.rewards, self.cosines, self.gradients = [], [], [], []
        self.innovations, self.surprises, self.qualities, self.deviations = [], [], [], []

    @staticmethod
    def low_pass(values, decay):
        """Weighted mean of the past, weights decay^age."""
        weights = np.array([decay**age for age in range(len(values))])[::-1]
        return float(np.sum(weights * values) / np.sum(weights)) if len(values) else 0.0

    def step(self, loss, reward, cosine, gradient):
        lp = self.low_pass
        self.innovations.append((loss - lp(self.losses, 0.9)) ** 2 if self.losses else 0.0)
        self.surprises.append((reward - lp(self.rewards, 0.9)) ** 2 if self.rewards else 0.0)
        self.losses.append(loss)
        self.rewards.append(reward)
        self.gradients.append(gradient)
        if cosine is not None:
            self.cosines.append(cosine)
        steps = len(self.losses)
        warm = min(max((steps - 2) / 10, 0), 1)
        spread = 0.1 / 1.9 + 0.03 / 1.97 - 2 * 0.1 * 0.03 / (1 - 0.873)
        long = lp(self.innovations, 0.99)
        t = warm * (lp(self.losses, 0.9) - lp(self.losses, 0.97)) / np.sqrt(max(spread * long, 1e-30))
        excess = warm / 2 * np.log((lp(self.innovations, 0.9) + 1e-30) / (long + 1e-30))
        rise = lp(self.rewards, 0.9) - lp(self.rewards, 0.97)
        r = warm * rise / np.sqrt(max(spread * lp(self.surprises, 0.99), 1e-30))
        if warm < 1:
            self.first = lp(self.losses, 0.97)
        rho = lp(self.cosines, 0.9)
        error = np.sqrt(max(lp(np.square(self.cosines), 0.9) - rho**2, 0) * 0.1 / 1.9)
        quality = np.tanh(rho / (3 * error + 0.02)) if self.cosines else 0.0
        self.qualities.append(quality)
        self.deviations.append(abs(gradient / lp(self.gradients, 0.99) - 1))
        unnormalised = sum(0.1 * 0.9**age * q for age, q in enumerate(reversed(self.qualities)))
        return {
            "trend": np.tanh(t / 2),
            "variance": np.tanh(max(excess - np.log(4) / 2, 0) / 0.5),
            "reward_delta": np.tanh(r / 2),
            "alignment": rho,
            "quality": quality,
            "uncertainty": np.log1p(lp(self.deviations, 0.9)) - np.log1p(lp(self.deviations, 0.99)),
            "mastery": min(max(self.first - lp(self.losses, 0.9) - np.sqrt(long), 0) / abs(self.first), 1),
            "stall": warm * np.exp(-((t / 2) ** 2)),
            "persistence": unnormalised**3,
        }


def observation(loss, gradient=1.0, cosine=0.0, has_direction=True, reward=None):
    return ae.Observation(
        loss=jnp.float32(loss),
        reward=None if reward is None else jnp.float32(reward),
        valid_loss=None,
        cosine=jnp.float32(cosine),
        has_direction=jnp.asarray(has_direction),
        gradient_square=jnp.float32(gradient),
        effective_step=jnp.float32(0),
    )


advance = jax.jit(lambda filters, seen: ae.measure(filters, GAINS, seen))


@pytest.mark.parametrize("seed", range(3))
def test_measurement_equals_a_plain_oracle(seed):
    draw = np.random.default_rng(seed)
    losses = np.exp(-np.arange(80) / 40) + 0.1 * draw.normal(size=80)
    losses[50:] += 3 * draw.normal(size=30)  # the variance bursts
    oracle, filters = Oracle(), zero_filters()
    for step, loss in enumerate(losses):
        loss, reward, cosine = (float(np.float32(x)) for x in (loss, draw.normal() + step / 20, draw.uniform(-1, 1)))
        gradient = float(np.float32(draw.uniform(0.5, 2)))
        expected = oracle.step(loss, reward, cosine if step else None, gradient)
        filters, signals = advance(filters, observation(loss, gradient, cosine, step > 0, reward))
        for name, value in expected.items():
            assert float(getattr(signals, name)) == pytest.approx(value, rel=2e-3, abs=2e-4), (step, name)


def test_a_constant_loss_has_its_own_mean_at_once_and_no_trend():
    filters = zero_filters()
    for _ in range(30):
        filters, signals = advance(filters, observation(5.0))
        assert float(mean_loss(filters, GAINS)) == pytest.approx(5.0, rel=1e-5)
    assert abs(float(signals.trend)) < 0.4  # float32 rounding alone is no trend
    assert float(signals.variance) == 0.0


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_signals_know_no_scale_of_the_loss(scale):
    draw = np.random.default_rng(0).normal(size=60) + 3
    plain, scaled = zero_filters(), zero_filters()
    for loss in draw:
        plain, one = advance(plain, observation(loss, loss**2, 0.3))
        scaled, other = advance(scaled, observation(scale * loss, (scale * loss) ** 2, 0.3))
    for name, value in one._asdict().items():
        np.testing.assert_allclose(getattr(other, name), value, rtol=1e-3, atol=1e-4, err_msg=name)


def signals(**values):
    return zero_signals()._replace(**{name: jnp.float32(value) for name, value in values.items()})


def test_phase_and_stability_of_ae5_by_hand():
    """Quality -1/2 is A = 1/4: stability -2 X (3/4 - 1/4)."""
    phase, stability, persistence = laws.resonance(signals(quality=-0.5, variance=0.6, persistence=0.1), GAINS)
    assert (float(phase), float(persistence)) == pytest.approx((-0.5, 0.1))
    assert float(stability) == pytest.approx(-2 * 0.6 * (0.75 - 0.25))
    in_phase = laws.resonance(signals(quality=1.0, variance=0.6), GAINS)[1]
    assert float(in_phase) == pytest.approx(1.2)  # a surge


def test_the_drive_of_ae2_by_hand():
    """Learning-rate row: 0.3 progress + 1 phase; hinge of slope 1 over the outer 5 % of a range of 20."""
    phi = laws.features(signals(trend=-0.5, quality=0.2), GAINS)
    inside = laws.drive(jnp.zeros(1), jnp.zeros(1), phi, GAINS, LOW, HIGH)
    assert float(inside[0]) == pytest.approx(0.3 * 0.5 + 0.2)
    at_the_end = laws.drive(HIGH, jnp.zeros(1), phi, GAINS, LOW, HIGH)
    assert float(at_the_end[0]) == pytest.approx(0.35 - 1.0)


def test_a_leak_pulls_back_to_the_start():
    gains = ae.default_gains(("b1",))
    drive = laws.drive(jnp.asarray([3.0]), jnp.asarray([2.0]), jnp.zeros(len(ae.FEATURES)), gains, LOW, HIGH)
    assert float(drive[0]) == pytest.approx(-0.2)


def test_the_budget_of_ae6_is_smooth_and_wider_downwards():
    steps = laws.budget(jnp.asarray([1e-3, 100.0, -100.0, -1e-3]), GAINS)
    np.testing.assert_allclose(steps, [1e-3, 0.15, -0.7, -1e-3], rtol=1e-3)


def test_the_multiplier_of_ae6_grows_above_the_power_and_never_falls_below_zero():
    gains = GAINS._replace(dual_step=jnp.float32(2.0))
    assert float(laws.dual(jnp.float32(0.5), jnp.asarray([0.2]), gains)) == pytest.approx(0.5 + 2 * (0.04 - 0.01))
    assert float(laws.dual(jnp.float32(0.0), jnp.zeros(1), gains)) == 0.0
    assert float(laws.dual(jnp.float32(0.0), jnp.asarray([9.0]), GAINS)) == 0.0  # off by default


def test_coupling_acts_on_increments():
    gains = ae.default_gains(("learning_rate", "momentum"), coupling={"learning_rate": {"momentum": -1.0}})
    np.testing.assert_allclose(laws.couple(jnp.asarray([0.5, 0.2]), gains), [0.3, 0.2], rtol=1e-6)


def test_ae8_halves_the_square_of_a_step_at_the_limit():
    assert float(laws.bounded_step(jnp.float32(0.03), GAINS)) ** 2 == pytest.approx(0.5, rel=1e-5)
    assert float(laws.bounded_step(jnp.float32(300.0), GAINS)) * 300 == pytest.approx(0.03, rel=1e-3)
    assert float(laws.normalised_rate(jnp.float32(0.1), jnp.float32(4.0), GAINS)) == pytest.approx(0.025)


def test_ae3_is_a_multiplicative_update_in_the_log_chart():
    phi = jnp.zeros(len(ae.FEATURES)).at[ae.FEATURES.index("phase")].set(1.0)
    after, _ = laws.evolve(jnp.zeros(1), jnp.zeros(1), jnp.float32(0), phi, GAINS, LOW, HIGH)
    expected = 0.15 * np.tanh(0.03 / 0.15)
    assert float(ae.from_chart("log", after)[0]) == pytest.approx(np.exp(expected), rel=1e-6)


def test_ae10_by_hand():
    gains = ae.default_gains(("b1",))
    assert float(laws.energy(jnp.float32(2.0), jnp.asarray([3.0]), jnp.asarray([2.0]), gains)) == pytest.approx(2.1)


def test_exploration_has_the_size_it_was_given():
    noisy = laws.explore(jax.random.key(0), jnp.ones(20_000), jnp.float32(0.3))
    assert float(jnp.std(noisy)) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ae.default_gains(("b1",), budget=1.0), "unknown gain 'budget'"),
        (lambda: ae.default_gains(("b1",), drive={"b2": {}}), "unknown coefficient 'b2'"),
        (lambda: ae.default_gains(("b1",), drive={"b1": {"fase": 1.0}}), "unknown feature 'fase'"),
        (lambda: ae.without(GAINS, "AE-11"), "unknown law 'AE-11'"),
    ],
)
def test_unknown_names_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
