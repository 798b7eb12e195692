"""Cheap experiments on adaptive evolution run from the command line to the table, the JSON file and the figure."""

import json
import sys

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.ae import __main__ as command
from bench.ae import _figure
from bench.ae._finding import Finding


@pytest.mark.parametrize(("name", "curves"), [("C7", True), ("I15", False)])
def test_an_experiment_prints_a_table_and_writes_json_and_figure(name, curves, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.ae", name, "--quick", "--out", str(tmp_path)])
    with jax.numpy_rank_promotion("allow"):  # as on the command line
        command.main()
    printed = capsys.readouterr().out
    saved = json.loads((tmp_path / f"{name}.json").read_text())
    assert saved["verdict"] in ("pass", "fail", "null")
    assert saved["because"] in printed
    assert f"## {name}. " in printed
    assert "Criterion: " in printed
    table = [line for line in printed.splitlines() if line.startswith("| ")]
    for method in saved["rows"]:
        assert any(line.startswith(f"| {method} | ") for line in table), method
    assert all(np.size(numbers) >= 2 for values in saved["rows"].values() for numbers in values.values())  # seeds
    assert saved["context"]["jax"] == jax.__version__
    assert (tmp_path / f"{name}.png").exists() == curves


def test_an_unknown_experiment_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.ae", "Z9"])
    with pytest.raises(SystemExit):
        command.main()
    assert "unknown experiments Z9; there are A1, A2" in capsys.readouterr().err


def drawn(found, tmp_path, monkeypatch):
    """The axes of the figure that is saved."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **look: saved.append(figure))
    _figure.draw(found, tmp_path / "figure.png")
    return saved[0].axes[0]


def test_a_curve_stands_at_the_last_step_of_its_running_mean(tmp_path, monkeypatch):
    curves = {"adam": np.ones(10), "ae_adam": np.arange(1.0, 101.0)}
    axes = drawn(Finding("pass", "", [], curves, "risk"), tmp_path, monkeypatch)
    theirs, ours = axes.lines
    np.testing.assert_allclose(theirs.get_xydata(), [[10, 1]])
    assert ours.get_xydata()[0].tolist() == pytest.approx([20, 10.5])
    assert ours.get_xydata()[-1].tolist() == pytest.approx([100, 90.5])
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "risk")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["adam", "ae_adam"]
