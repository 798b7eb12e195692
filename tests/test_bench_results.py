"""Results of benchmarks are whole, and the table of `bench/README.md` says what they say, of every script."""

import ast
import importlib.util
import json
import re
import runpy
from pathlib import Path

import pytest

from bench.ae.__main__ import EXPERIMENTS
from bench.run import BENCHES

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
PAGES = runpy.run_path(str(ROOT / "docs" / "bench_pages.py"))


def rows_of_the_readme():
    """Question, command, verdict and results file of each row."""
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.*)\]\(results/(\w+)\.json\) \| `(.*)` \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| \[", text, re.MULTILINE))
    return {(question, command, verdict, name) for question, name, command, verdict in rows}


def experiments():
    """The rows of the experiments on adaptive evolution, by name."""
    (table,) = json.loads((ROOT / "bench" / "results" / "ae.json").read_text(encoding="utf-8"))["tables"]
    assert table["columns"] == ["experiment", "question", "task", "verdict", "because"]
    return {row[0]: row[1:] for row in table["rows"]}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_results_file_is_whole_and_shown(path):
    result = PAGES["read"](path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
    assert all(text and "\n" not in text for text in (result["title"], result["question"], result["verdict"]))
    assert result["tables"]
    shown = PAGES["section"](path.stem, result)
    for sentence in result["method"] + result["notes"]:
        assert f"- {sentence}\n" in shown + "\n"
    lengths = [len(table["rows"]) + 2 for table in result["tables"]]  # a heading and a line below it
    assert len(re.findall(r"^\|", shown, re.MULTILINE)) == sum(lengths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"notes": None}, "'notes' must be a list"),
        ({"remarks": []}, "'remarks' is unknown"),
        ({"tables": [{"title": "a", "columns": ["x", "y"], "rows": [[1]]}]}, "a row must have 2 cells"),
        ({"tables": [{"title": "a", "columns": ["x"]}]}, "lacks 'rows'"),
    ],
)
def test_a_broken_results_file_is_refused(change, message, tmp_path):
    broken = json.loads(RESULTS[0].read_text(encoding="utf-8")) | change
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=message):
        PAGES["read"](tmp_path / "broken.json")


def test_cells_keep_their_digits(tmp_path):
    table = {"title": "a", "columns": ["x"] * 4, "rows": [[0, 1, 2, 3]]}
    result = json.loads(RESULTS[0].read_text(encoding="utf-8")) | {"tables": [table]}
    text = json.dumps(result).replace("[0, 1, 2, 3]", "[0.40, null, [1.0, 2], 12345]")
    (tmp_path / "some.json").write_text(text)
    assert PAGES["table"](PAGES["read"](tmp_path / "some.json")["tables"][0]).endswith("| 0.40 |  | 1.0, 2 | 12,345 |")


def test_every_script_has_a_results_file_with_its_question():
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS}
    assert set(BENCHES) <= set(results)
    assert {name: results[name]["question"] for name in BENCHES} == {name: b.question for name, b in BENCHES.items()}


def test_the_readme_says_what_the_results_say():
    expected = set()
    for path in RESULTS:
        result = json.loads(path.read_text(encoding="utf-8"))
        expected.add((result["question"], result["command"], result["verdict"], path.stem))
    for name, (question, task, verdict, because) in experiments().items():
        expected.add((f"{name}: {question}", f"python -m bench.ae {name}", f"**{verdict}** ({task}): {because}", "ae"))
    assert rows_of_the_readme() == expected


def test_every_experiment_has_a_row_with_its_question():
    asked = {}
    for name, module in EXPERIMENTS.items():
        source = (ROOT / "bench" / "ae" / f"{module}.py").read_text(encoding="utf-8")
        asked[name] = str(ast.get_docstring(ast.parse(source))).splitlines()[0].partition(": ")[2]
    assert {name: question for name, (question, *_) in experiments().items()} == asked


def test_every_command_names_a_module_that_exists():
    modules = {re.match(r"python -m ([\w.]+)", command)[1] for _, command, _, _ in rows_of_the_readme()}
    assert len(modules) > len(BENCHES)
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
