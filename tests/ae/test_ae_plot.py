"""What a figure of a run shows: its lines, scales, limits and labels."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etm_jax import ae
from etm_jax.ae import plot

STEPS = 30
NAMES = ("learning_rate", "b1", "eps")
OTHERS = ["signals of the loss", "signals of the phase", "uncertainty", "effective step"]
OTHERS += ["energy", "rises of the energy", "skipped steps"]


@pytest.fixture(scope="module")
def runs():
    """What the monitor said of three runs: `[runs, steps]`."""

    def run(rate):
        tx = ae.ae_adam(rate, coefficients=NAMES)
        x = jnp.asarray([1.0, -2.0])

        def step(carry, _):
            x, state = carry
            updates, state = tx.update(x, state, x, value=jnp.sum(x**2) / 2)
            return (optax.apply_updates(x, updates), state), ae.monitor(state)

        return jax.lax.scan(step, (x, tx.init(x)), length=STEPS)[1]

    monitored = jax.jit(jax.vmap(run))(jnp.asarray([1e-4, 1e-3, 1e-1]))
    return {key: np.asarray(value) for key, value in monitored.items()}


@pytest.fixture(scope="module")
def one(runs):
    return {key: value[1] for key, value in runs.items()}


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def lines(axes):
    """Data by label; the line at zero has none of its own."""
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


def test_every_array_of_a_run_is_a_line_over_its_steps(one):
    shown = panels(plot.trajectories(one))
    assert list(shown) == [*sorted(NAMES), *OTHERS]
    drawn = {label: data for axes in shown.values() for label, data in lines(axes).items()}
    further = {f"signal/{name}" for name in plot._FURTHER}  # neither a reward nor a validation loss was given
    expected = {key: value for key, value in one.items() if key not in {"count", *further}}
    assert set(drawn) == {key.rpartition("/")[2] for key in expected}
    for key, value in expected.items():
        data = drawn[key.rpartition("/")[2]]
        np.testing.assert_array_equal(data[:, 0], np.arange(1, STEPS + 1), err_msg=key)
        np.testing.assert_allclose(data[:, 1], value, rtol=1e-6, err_msg=key)
    assert not any(axes.collections for axes in shown.values())


def test_coefficients_stand_on_the_scales_of_their_charts(one):
    shown = panels(plot.trajectories(one))
    assert [shown[name].get_ylabel() for name in NAMES] == ["log scale", "horizon scale", "log scale"]
    assert [shown[name].get_yscale() for name in NAMES] == ["log", "function", "log"]
    heights = shown["b1"].transData.transform([(0, 0.0), (0, 0.9), (0, 0.99)])[:, 1]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0])  # a horizon of 1, 10 and 100
    for name in NAMES:
        low, high = shown[name].get_ylim()
        assert low < one[f"coefficient/{name}"].min() <= one[f"coefficient/{name}"].max() < high


def test_a_coefficient_that_stands_still_does_not_show_its_rounding(one):
    still = {**one, "coefficient/b1": 0.9 + 1e-7 * np.sin(np.arange(STEPS))}
    low, high = panels(plot.trajectories(still))["b1"].get_ylim()
    assert (1 - low) / (1 - high) > 1.9


def test_signals_are_seen_between_minus_one_and_one_and_named(one):
    shown = panels(plot.trajectories(one))
    for title, names in (("signals of the loss", plot._LOSS), ("signals of the phase", plot._PHASE)):
        assert shown[title].get_ylim() == (-1.05, 1.05)
        assert [text.get_text() for text in shown[title].get_legend().get_texts()] == list(names)
    assert shown["effective step"].get_yscale() == shown["energy"].get_yscale() == "log"
    assert {axes.get_xlabel() for axes in list(shown.values())[-3:]} == {"step"}


def test_a_reward_and_a_negative_energy_are_shown(one):
    changed = {**one, "signal/reward_delta": np.full(STEPS, 0.5), "energy": one["energy"] - 10}
    shown = panels(plot.trajectories(changed))
    assert set(lines(shown["signals of the reward and validation"])) == {"reward_delta", "overfit"}
    assert shown["energy"].get_yscale() == "linear"


def test_skipped_steps_are_counted_in_whole_numbers(one):
    axes = panels(plot.trajectories({**one, "skipped": np.arange(STEPS) // 10}))["skipped steps"]
    assert axes.lines[0].get_drawstyle() == "steps-post"
    assert axes.get_ylim() == (0, 2.1)
    assert all(float(tick).is_integer() for tick in axes.get_yticks())


def test_several_runs_are_a_median_and_a_band_from_the_least_to_the_greatest(runs):
    figure = plot.trajectories(runs)
    assert figure.get_suptitle() == "median and range of 3 runs"
    axes = panels(figure)["learning_rate"]
    rates = runs["coefficient/learning_rate"]
    np.testing.assert_allclose(lines(axes)["learning_rate"][:, 1], np.median(rates, 0), rtol=1e-6)
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for index in (0, STEPS - 1):
        at = corners[corners[:, 0] == index + 1, 1]
        assert (at.min(), at.max()) == pytest.approx((rates[:, index].min(), rates[:, index].max()))


def test_a_coefficient_of_ones_own_needs_its_chart(one):
    share = {**one, "coefficient/share": np.linspace(0.1, 0.6, STEPS)}
    with pytest.raises(ValueError, match="coefficient 'share' has no chart; give ranges="):
        plot.trajectories(share)
    axes = panels(plot.trajectories(share, ranges={"share": ae.Coefficient("logit", 0.01, 0.99)}))["share"]
    heights = axes.transData.transform([(0, 0.1), (0, 0.5), (0, 0.9)])[:, 1]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.1", "0.2", "0.3", "0.5"]


@pytest.mark.parametrize("form", ["one", "runs"])
def test_it_can_be_saved_without_a_warning(form, tmp_path, request):
    plot.trajectories(request.getfixturevalue(form)).savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": None}, "monitored lacks energy; stack all that ae.monitor"),
        ({f"coefficient/{name}": None for name in NAMES}, "monitored lacks coefficient/NAME"),
        ({"loss": np.ones(STEPS)}, "unknown keys loss"),
        ({"energy": np.ones(STEPS - 1)}, r"arrays of one shape, got \(29,\) for energy but \(30,\) for count"),
        ({"coefficient/b1": np.ones(STEPS)}, "'b1' must lie between -inf and 1 in the horizon chart, got 1 to 1"),
        ({"coefficient/eps": np.zeros(STEPS)}, "'eps' must lie between 0 and inf in the log chart"),
        ({"coefficient/eps": np.full(STEPS, np.nan)}, "'eps' has no finite value"),
    ],
)
def test_bad_input_is_a_clear_error(one, change, message):
    with pytest.raises(ValueError, match=message):
        plot.trajectories({key: value for key, value in {**one, **change}.items() if value is not None})


def test_shapes_without_steps_and_runs_out_of_step_are_clear_errors(one, runs):
    with pytest.raises(ValueError, match=r"not empty, got \(\) for count"):
        plot.trajectories({key: value[0] for key, value in one.items()})
    with pytest.raises(ValueError, match="after the same steps"):
        plot.trajectories({**runs, "count": runs["count"] + np.arange(3)[:, None]})


def test_without_matplotlib_the_error_says_how_to_get_it(one, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'etm-jax\[plot\]'"):
        plot.trajectories(one)


def test_importing_it_does_not_import_matplotlib():
    code = "import sys, etm_jax.ae.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
