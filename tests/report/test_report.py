"""The run report: what it says of finished, stopped and damaged runs, and the data behind its figures."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

import etm_tasks
from etm_jax.cells import MEMORIES
from etm_jax.models import MODELS
from etm_jax.networks import Bounds, compact, random_genome
from etm_jax.networks._report import sections, trace
from etm_jax.networks.genome._genes import GENES, LEARNING_GENES
from etm_jax.report import write_report
from etm_jax.report._ancestry import ancestry, best_of, changed_genes, families, lay_out, line_of_descent
from etm_jax.report._genes import spread
from etm_jax.report._members import LABEL, _named, members_sections
from etm_jax.report._page import Opening, page
from etm_jax.report._rises import Comparison, rises, rises_table
from etm_jax.report._run import LineageRow, column, read_run
from etm_jax.report._section import Section, Table
from etm_jax.report._spending import MOST_BARS, MOST_DRAWN, Part, bars_of, spending_sections, steps_of_raising
from etm_jax.report._trace import slots_in_use
from etm_jax.report._tree import spaced
from etm_jax.task import TaskSuite

BOUNDS = Bounds(num_slots=(5, 8), slot_width=(3, 4), num_read_heads=(2, 2), controller_size=(4, 6))
AT_WORK = MODELS["networks"].report
HOSTILE = "<script>alert('&')</script>"
FIGURES = (
    "Fitness over",
    "Accuracy at 1, 2, 5, 10 times",
    "Performance over",
    "Gene num_slots over",
    "Gene addressing over",
    "Gene memory over",
    "Compute by family over",
    "Compute by controller and memory over",
    "The champion on one",
    "Ancestry of",
)
VOID = {"meta", "br", "img", "link", "hr"}

TAPE, NTM = (tuple(MEMORIES).index(name) for name in ("tape", "ntm"))
KINDS = [[TAPE, TAPE, NTM], [TAPE, NTM, NTM], [NTM, NTM, NTM]]  # of memory, by generation

# Generation: (ids, parents, fitness, memory slots). 7 is the champion; 4 survives as an elite.
LINEAGE = [
    ([0, 1, 2], [[-1, -1]] * 3, [0.1, 0.3, None], [5, 6, 7]),
    ([3, 4, 5], [[0, 1], [1, 1], [2, 0]], [0.2, 0.5, 0.1], [6, 8, 5]),
    ([4, 6, 7], [[1, 1], [5, 5], [3, 4]], [0.6, 0.2, 0.9], [8, 5, 7]),
]


@pytest.fixture(scope="module")
def suite():
    return TaskSuite((etm_tasks.make("copy", bits=2, max_length=3), etm_tasks.make("recall", bits=2)), (1.0, 1.0))


@pytest.fixture(scope="module")
def model(suite):
    draw = jax.jit(lambda key: random_genome(key, BOUNDS, suite.input_size, suite.output_size))
    return compact(draw(jax.random.key(0)), BOUNDS)


def lineage_row(generation, ids, parents, fitness, slots):
    genes = {name: [1] * len(ids) for name in GENES} | {"num_slots": slots, "addressing": [generation % 2] * len(ids)}
    genes["memory"] = KINDS[generation][: len(ids)]
    learning = {name: [0.5 + generation] * len(ids) for name in LEARNING_GENES}
    row = {"generation": generation, "id": ids, "parents": parents, "fitness": fitness}
    spent = {"steps": [5 * (id != 4 or generation < 2) for id in ids], "multiply_adds": [100.0 + id for id in ids]}
    return row | {"genes": genes, "learning": learning, "spent": spent}


def metrics_row(generation, best_fitness):
    tasks = {"copy": 0.25, "recall": 0.5}
    scores = dict.fromkeys(("best_performance", "mean_performance", "best_accuracy", "difficulty"), tasks)
    numbers = dict.fromkeys(("mean_fitness", "best_efficiency", "mean_efficiency", "best_loss", "diversity"), 0.375)
    costs = {"padding_efficiency": 0.8125, "compile_seconds": 2.0, "run_seconds": 1.0, "individuals_per_second": 17.0}
    return {"generation": generation, "best_fitness": best_fitness, "failed": 2, **scores, **numbers, **costs}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_run(path):
    """A finished run of three generations."""
    write_lines(path / "metrics.jsonl", [metrics_row(g, f) for g, f in enumerate((0.3, None, 0.9))])
    write_lines(path / "lineage.jsonl", [lineage_row(g, *row) for g, row in enumerate(LINEAGE)])
    (path / "config.toml").write_text(f'max_generations = 3\nname = "{HOSTILE}"\n')
    scores = {"copy": 0.984, "recall": 0.457}
    names = [f"{name}{suffix}" for name in ("accuracy", "performance") for suffix in ("", "_x2", "_x5")]
    held_out = dict.fromkeys(names, scores) | {"episodes_x2": 1000, "episodes_x5": 500, "accuracy_x10": {"copy": 0.125}}
    held_out |= {"performance_x10": {"copy": 0.25}, "episodes_x10": 250, "left_out_x10": {"recall": "too <long>"}}
    summary = {
        "champion_id": 7,
        "architecture": {"num_slots": 7, "addressing": "content_and_location"},
        "num_parameters": 43210,
        "held_out": {"episodes": 1000, **held_out},
        "seconds": {"total": 61.5, "compile": 20.0, "run": 41.5},
        "generations": 3,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return path


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory, model, suite):
    """The report of a finished run; read only, as drawing it takes a second."""
    return write_report(make_run(tmp_path_factory.mktemp("run")), model, suite, AT_WORK)


def lineage_of(rows):
    return [
        LineageRow(
            generation=generation,
            ids=np.array(ids),
            parents=np.array(parents),
            fitness=np.array([np.nan if value is None else value for value in fitness]),
            genes={"num_slots": np.array(slots)},
        )
        for generation, (ids, parents, fitness, slots) in enumerate(rows)
    ]


class Balance(HTMLParser):
    """Notes every end tag that closes something other than the last thing opened."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_a_finished_run_makes_a_page_with_its_numbers_and_every_figure(report):
    text = report.read_text()
    assert sorted(file.name for file in report.parent.iterdir() if "report" in file.name) == ["report.html"]
    for shown in ("Finished after 3 generations", "43,210", "0.984", "0.457", "61.5 s", "0.812", ">17<", "1,000 fresh"):
        assert shown in text
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(labels) == text.count("<svg") == 6 + 2 + 3 + len(LEARNING_GENES) + 2 + 2  # three genes vary
    assert "The same for every individual at all times: slot width 1, read heads 1" in text
    for figure in FIGURES:
        assert any(label.startswith(figure) for label in labels), figure
    assert text.count("<figcaption>") == 6


def test_scores_by_length_are_shown_and_what_was_not_asked_is_said(report):
    text = report.read_text()
    assert "Accuracy at 1, 2, 5, 10 times the trained length. copy: 0.984, 0.984, 0.984, 0.125. recall: 0.457" in text
    assert '<th scope="row">accuracy, 10 times the length</th><td>0.125</td><td>–</td>' in text  # noqa: RUF001
    assert "Fewer episodes: 500 at 5 times the length, 250 at 10 times the length." in text
    assert "recall is not asked at 10 times its length: too &lt;long&gt;." in text


def cells(text, title):
    """The rows of a table of the page, head included."""
    table = text.split(f"<h3>{title}</h3>")[1].split("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]


def test_what_rose_is_shown_with_the_fitness_of_those_that_had_it_and_of_the_others(report):
    head, *rows = cells(report.read_text(), "What rose, and what it displaced")
    lead = "+0.100, ahead in 1 of 1 generation"
    assert rows == [
        ["memory: ntm", "0.33 → 1.00", "tape 0.67 → 0.00", "2", "0.300 / 0.200 (2 / 1, generation 1)", lead, "1 → 3"]
    ]
    assert len(head) == len(rows[0])


def test_compute_is_shown_by_family_and_by_kind(report):
    text = report.read_text()
    # 0 with 3 and 7: 5 * (100 + 103 + 107); 1 with 4, which rests in the end: 5 * (101 + 104); 2 with 5 and 6.
    assert cells(text, "By family")[1:] == [
        ["2, gru, ntm", "37.8%", "15", "3", "0.200", "the end"],
        ["0, gru, tape", "37.4%", "15", "3", "0.900", "the end"],
        ["1, gru, tape", "24.8%", "10", "2", "0.600", "the end"],
    ]
    assert cells(text, "By controller, memory")[1:] == [
        ["gru, ntm", "63.3%", "25", "5", "0.900", "the end"],
        ["gru, tape", "36.7%", "15", "3", "0.300", "1"],
    ]
    assert "The champion is of the family of 0." in text
    assert "The founders were chosen" not in text


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(report):
    text = report.read_text()
    outside = re.findall(r"(?:src|href|action|data)\s*=\s*[\"'](?!#|data:)[^\"']*|url\((?!#)[^)]*|@import", text)
    assert outside == []
    assert not re.search(r"<(script|link|iframe|object)\b", text)
    balance = Balance()
    balance.feed(text)
    assert (balance.open, balance.wrong) == ([], [])


def test_every_id_occurs_once_and_every_reference_finds_its_id(report):
    text = report.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', text))
    assert references and references <= set(ids)


def test_making_it_again_replaces_it_with_the_same_page(report, model, suite):
    before = report.read_bytes()
    report.write_text("an older report")
    assert write_report(report.parent, model, suite, AT_WORK) == report
    assert report.read_bytes() == before


def test_what_the_user_names_is_escaped(run, model):
    class Hostile(type(etm_tasks.make("copy"))):
        name = HOSTILE

    task = Hostile(bits=2, max_length=3)
    other = etm_tasks.make("recall", bits=2)
    text = write_report(run, model, TaskSuite((task, other), (1.0, 1.0)), AT_WORK).read_text()
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;") >= 3  # the configuration, the table of scores, the key of the figure
    section = Section("", "", ("<svg></svg>",), tables=(Table(HOSTILE, (HOSTILE,) * 2, ((HOSTILE,) * 2,)),))
    text = page(read_run(run), Opening("", (), ""), None, (), [section])
    assert HOSTILE not in text and text.count("&lt;script&gt;") == 6  # the configuration among them


def test_an_empty_run_makes_a_page_that_says_so(tmp_path, suite):
    text = write_report(tmp_path, None, suite, AT_WORK).read_text()
    assert "No generation has been recorded yet" in text
    for name in ("metrics.jsonl", "lineage.jsonl", "summary.json", "config.toml"):
        assert f"{name} is missing" in text
    assert "no saved champion yet" in text
    assert "<svg" not in text


@pytest.mark.parametrize("num_generations", [1, 2])
def test_a_stopped_run_shows_what_there_is(run, suite, num_generations):
    (run / "summary.json").unlink()
    for name in ("metrics.jsonl", "lineage.jsonl"):
        lines = (run / name).read_text().splitlines(keepends=True)
        (run / name).write_text("".join(lines[:num_generations]))
    text = write_report(run, None, suite, AT_WORK).read_text()
    assert f"Unfinished: {num_generations} of 3 generations" in text
    assert "summary.json is missing" in text and "Not measured yet" in text
    best_so_far = ["Individual 1, created in generation 0, has no ancestors", "Ancestry of individual 4:"]
    assert best_so_far[num_generations - 1] in text


def test_a_run_in_which_everything_failed_is_reported(run, suite):
    nothing = {key: None for key in metrics_row(0, None) if key not in ("generation", "failed")}
    write_lines(run / "metrics.jsonl", [{"generation": g, "failed": 3, **nothing} for g in range(2)])
    write_lines(run / "lineage.jsonl", [lineage_row(0, [0, 1], [[-1, -1]] * 2, [None, None], [5, 6])])
    (run / "summary.json").unlink()
    text = write_report(run, None, suite, AT_WORK).read_text()
    assert "generations with failed evaluations (6 in all)" in text
    assert "does not hold a champion" in text


def test_a_run_that_was_interrupted_is_unfinished_though_it_has_a_summary(run, suite):
    (run / "config.toml").write_text("max_generations = 1000\n")
    assert "Unfinished: 3 of 1,000 generations" in write_report(run, None, suite, AT_WORK).read_text()
    (run / "config.toml").write_text("max_generations = ")
    assert "Finished after 3 generations" in write_report(run, None, suite, AT_WORK).read_text()


def test_a_torn_last_line_is_ignored_and_damage_elsewhere_is_named(run):
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(whole + '{"generation": 3, "best_fit')
    assert (len(read_run(run).metrics), read_run(run).notes) == (3, ())
    (run / "metrics.jsonl").write_text('{"generation": 0, "be\n' + whole)
    assert read_run(run).notes == ("1 unreadable lines of metrics.jsonl were skipped.",)
    write_lines(run / "lineage.jsonl", [lineage_row(0, *LINEAGE[0]), {"generation": 1, "id": [3]}])
    assert [row.generation for row in read_run(run).lineage] == [0]
    short = lineage_row(1, *LINEAGE[1]) | {"spent": {"steps": [5, 5], "multiply_adds": [1.0, 1.0, 1.0]}}
    write_lines(run / "lineage.jsonl", [lineage_row(0, *LINEAGE[0]), short])
    assert [row.generation for row in read_run(run).lineage] == [0]
    (run / "summary.json").write_text('{"champion_id": ')
    assert any("summary.json is unreadable" in note for note in read_run(run).notes)


def test_a_generation_written_twice_counts_once_with_its_later_row(run):
    write_lines(run / "metrics.jsonl", [metrics_row(g, f) for g, f in ((0, 0.1), (1, 0.2), (1, 0.4), (2, 0.5))])
    assert column(read_run(run).metrics, "best_fitness").tolist() == [0.1, 0.4, 0.5]


def test_a_missing_folder_is_named(tmp_path, suite):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_report(tmp_path / "nowhere", None, suite, AT_WORK)


def test_a_model_of_another_suite_is_refused(run, model):
    with pytest.raises(ValueError, match="3"):
        write_report(run, model, TaskSuite((etm_tasks.make("copy", bits=2),), (1.0,)), AT_WORK)


def test_columns_read_nested_values_and_turn_what_is_missing_into_nan():
    rows = [{"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}, {}, {"a": 3}, {"a": {"b": True}}]
    np.testing.assert_array_equal(column(rows, "a", "b"), [1] + [np.nan] * 5)


def test_ancestry_walks_back_to_the_founders_and_no_further():
    people = ancestry(lineage_of(LINEAGE), 7)
    assert set(people) == {7, 3, 4, 0, 1}
    assert {one: people[one].created for one in people} == {0: 0, 1: 0, 3: 1, 4: 1, 7: 2}
    assert people[7].parents == (4, 3)  # the fitter first
    assert people[4].parents == (1,)  # one parent named twice
    assert people[4].fitness == 0.5  # at birth, not when it survived
    assert line_of_descent(people, 7) == [7, 4, 1]


def test_a_gene_has_changed_only_if_no_parent_has_its_value():
    people = ancestry(lineage_of(LINEAGE), 7)
    assert changed_genes(people, 7) == {"num_slots": (8, 7)}
    assert changed_genes(people, 3) == {}  # its 6 comes from parent 1
    assert changed_genes(people, 0) == {}  # a founder


def test_ancestry_outlives_gaps_and_loops_in_the_record():
    rows = [([5], [[99, 5]], [0.5], [6]), ([6, 7], [[5, 98], [6, 7]], [0.5, None], [6, 6])]
    people = ancestry(lineage_of(rows), 6)
    assert set(people) == {5, 6}
    assert people[5].parents == ()
    assert line_of_descent(people, 6) == [6, 5]
    assert ancestry(lineage_of(rows), 1234) == {}


def test_the_best_of_a_generation_has_finite_fitness():
    rows = lineage_of([*LINEAGE, ([8, 9], [[7, 7]] * 2, [None, None], [5, 5])])
    assert [best_of(row) for row in rows] == [1, 4, 7, None]


def test_branches_take_free_columns_and_what_finds_none_is_counted():
    people = ancestry(lineage_of(LINEAGE), 7)
    tree = lay_out(people, 7, num_columns=1)
    assert tree.line == (7, 4, 1)
    assert tree.columns == {7: 0, 4: 0, 1: 0, 3: 1}
    assert set(tree.edges) == {(7, 4), (7, 3), (4, 1), (3, 1)}
    assert tree.left_out == 1  # 0, the other parent of a branch
    assert lay_out(people, 7, num_columns=0).left_out == 2


def test_a_family_is_a_random_network_with_what_descends_from_it_through_first_parents():
    late = ([10, 9, 8, 7], [[77, 7], [8, 7], [-1, -1], [3, 4]], [0.3, 0.2, 0.1, 0.9], [5, 5, 5, 7])
    rows = [*LINEAGE, late, ([11], [[10, 7]], [0.4], [5])]
    # 9 is listed before its parent; 77 is on no record.
    expected = {0: 0, 1: 1, 2: 2, 3: 0, 4: 1, 5: 2, 6: 2, 7: 0, 8: 8, 9: 8, 10: 77, 11: 77}
    assert families(lineage_of(rows)) == expected


def population(kinds, fitness, ids=None, parents=None, generation=0):
    """A generation with these memories."""
    size = len(kinds)
    return LineageRow(
        generation=generation,
        ids=np.arange(size) if ids is None else np.array(ids),
        parents=np.full((size, 2), -1) if parents is None else np.array(parents),
        fitness=np.array(fitness, float),
        genes={"memory": np.array(kinds)},
    )


def rows_of(table):
    assert table is not None
    return table.rows


def test_a_rise_is_dated_and_compared_until_it_is_complete():
    """The tape is a quarter, falls to nothing, comes back as a mutant and takes over; then a mutant of it appears."""
    rows = [
        population([TAPE, NTM, NTM, NTM], [0.9, 0.3, 0.3, 0.3]),
        population([NTM, NTM, NTM, NTM], [0.3] * 4, [1, 2, 3, 4], [[-1] * 2] * 3 + [[1, 1]], 1),
        population([TAPE, NTM, NTM, NTM], [0.2, 0.3, 0.3, np.nan], [5, 1, 2, 3], [[1, 2]] + [[-1] * 2] * 3, 2),
        population([TAPE, TAPE, TAPE, NTM], [0.4, 0.5, 0.6, 0.3], [5, 6, 7, 1], [[1, 2], [5, 5], [2, 5], [-1] * 2], 3),
        population([TAPE, TAPE, TAPE, NTM], [0.5, 0.5, 0.5, 0.0], [5, 6, 7, 8], [[1, 2], [5, 5], [2, 5], [5, 5]], 4),
    ]
    (rise,) = rises(rows, families(rows))
    assert (rise.gene, rise.kind, rise.shares, rise.displaced) == ("memory", TAPE, (0.25, 0.75), {NTM: (0.75, 0.25)})
    assert (rise.began, rise.reached) == (1, 3)
    assert [(one.generation, one.counts) for one in rise.comparisons] == [(0, (1, 3)), (2, (1, 2)), (3, (3, 1))]
    np.testing.assert_allclose([one.lead for one in rise.comparisons], [0.6, -0.1, 0.2])
    assert rise.families == (1, 2)  # of 1; 7 took it from its second parent, and is of 2
    (row,) = rows_of(rises_table(rows, families(rows)))
    assert row[4:6] == ("0.200 / 0.300 (1 / 2, generation 2)", "+0.233, ahead in 2 of 3 generations")


def test_a_rise_begins_when_the_kind_was_rarest_for_the_last_time():
    kinds = [[TAPE, TAPE, NTM, NTM], [NTM] * 4, [TAPE] + [NTM] * 3, [NTM] * 4, [TAPE] * 3 + [NTM]]
    rows = [population(kind, [0.1] * 4, generation=one) for one, kind in enumerate(kinds)]
    (rise,) = rises(rows, families(rows))
    assert (rise.began, rise.reached, rise.families) == (3, 4, (3, 3))


def test_nothing_rose_where_shares_stay_or_nothing_can_be_compared():
    still = [population([TAPE, NTM], [0.1, 0.2], generation=one) for one in range(3)]
    assert rises(still, families(still)) == [] and rises_table(still, families(still)) is None
    failed = [population(kinds, [np.nan] * 2, generation=one) for one, kinds in enumerate([[TAPE, NTM], [NTM, NTM]])]
    (row,) = rows_of(rises_table(failed, families(failed)))
    assert row[4:6] == ("–", "–")  # noqa: RUF001
    assert Comparison(0, (0.5, 0.25), (1, 1)).lead == 0.25


def with_cost(rows, steps, cost):
    return [dataclasses.replace(row, spent={"steps": steps[row.ids], "multiply_adds": cost[row.ids]}) for row in rows]


def test_what_is_spent_before_the_first_generation_is_told():
    assert steps_of_raising({"population_size": 3, "model": {"lifetime": {"births": 4, "steps": 8}}}) == 12 * 2 + 6 * 4
    assert steps_of_raising({"population_size": 3, "model": {"lifetime": {"births": 1, "steps": 8}}}) == 0
    assert steps_of_raising({}) == 0
    rows = with_cost([population([TAPE, TAPE, TAPE], [0.1] * 3)], np.full(3, 8.0), np.ones(3))
    settings = {"population_size": 3, "model": {"lifetime": {"births": 4, "steps": 8}}}
    (section,) = spending_sections(rows, families(rows), 1, settings)
    assert any("48 of 72 gradient steps" in note for note in section.notes)


def test_a_bar_is_a_generation_or_in_a_long_run_several():
    def part(work):
        return Part("", np.array(work, float), 0, 0, 0.0, 0)

    edges, shares = bars_of([part([1, 0, 3]), part([3, 0, 1])], [4, 5, 7])  # 6 is not on record
    np.testing.assert_array_equal(edges, [3.5, 4.5, 5.5, 6.5, 7.5])
    np.testing.assert_array_equal(shares, [[0.25, 0, 0, 0.75], [0.75, 0, 0, 0.25]])
    length = 2 * MOST_BARS
    edges, shares = bars_of([part([2, 4] * MOST_BARS), part([1] * length)], range(length))
    assert len(edges) == MOST_BARS + 1 and (edges[0], edges[-1]) == (-0.5, length - 0.5)
    np.testing.assert_allclose(shares, np.repeat([[0.75], [0.25]], MOST_BARS, axis=1))


def test_small_families_are_drawn_as_one():
    size = MOST_DRAWN + 3
    rows = with_cost([population([TAPE] * size, np.arange(size) / 10)], np.full(size, 2.0), np.arange(size) + 1.0)
    (section,) = spending_sections(rows, families(rows), None, {})
    (table,) = section.tables  # one kind
    assert [row[0] for row in table.rows] == [str(one) for one in range(size - 1, 2, -1)] + ["3 others"]
    assert table.rows[-1] == ("3 others", f"{6 / 45:.1%}", "6", "3", "0.200", "the end")
    assert len(section.panels) == 1 and f"3 others: {6 / 45:.0%}" in section.panels[0]


def test_compute_needs_gradient_steps_on_record():
    rows = [population([TAPE, NTM], [0.1, 0.2])]
    assert spending_sections(rows, families(rows), None, {}) == []  # nothing is learned
    older = [dataclasses.replace(rows[0], learning={"learning_rate": np.ones(2)})]
    (section,) = spending_sections(older, families(rows), None, {})
    assert "does not hold gradient steps" in section.reading and section.panels == ()
    assert spending_sections(with_cost(rows, np.zeros(2), np.ones(2)), families(rows), None, {})[0].panels == ()


def test_labels_keep_their_order_and_distance_within_the_room():
    placed = spaced([0.0, 0.1, 0.2, 9.9], gap=1.0, low=0.0, high=10.0)
    assert placed == pytest.approx([0.0, 1.0, 2.0, 9.9])
    assert spaced([9.8, 9.9, 10.0], gap=1.0, low=0.0, high=10.0) == pytest.approx([8.0, 9.0, 10.0])


def test_the_spread_of_a_gene():
    row = LineageRow(0, np.arange(11), np.zeros((11, 2)), np.zeros(11), {"num_slots": np.arange(10, 21)})
    np.testing.assert_allclose(spread([row], "num_slots")[:, 0], [10, 11, 15, 19, 20])


def test_the_trace_is_one_full_episode_up_to_its_last_answer(model, suite):
    lived = trace(model, suite)
    inputs, targets, outputs = (lived.channels[title] for title in ("Inputs", "Targets", "Outputs"))
    assert inputs.shape == (3, 7)  # two bits and the delimiter; 3 vectors, the delimiter, 3 answers
    np.testing.assert_array_equal(inputs[2], [0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(targets[:, 4:], inputs[:2, :3])
    assert np.isnan(outputs[:, :4]).all() and ((outputs[:, 4:] > 0) & (outputs[:, 4:] < 1)).all()
    num_slots, num_writes = model.architecture["num_slots"], model.architecture["num_write_heads"]
    assert lived.reads.shape == (2, num_slots, 7) and lived.writes.shape == (num_writes, num_slots, 7)
    np.testing.assert_allclose(lived.reads.sum(axis=1), 1, rtol=1e-5)


def test_a_network_that_ponders_has_a_trace_too(suite):
    """Its cell has an input more than the suite: the mark of the first step."""
    bounds = dataclasses.replace(BOUNDS, ponder_steps=(3, 3), controllers=("window",))
    model = compact(random_genome(jax.random.key(0), bounds, suite.input_size, suite.output_size), bounds)
    assert model.input_size == suite.input_size
    lived = trace(model, suite)
    assert lived.channels["Inputs"].shape[1] == lived.reads.shape[2]


def test_without_a_memory_the_report_draws_the_answers_alone(suite, tmp_path):
    bounds = dataclasses.replace(BOUNDS, memories=("none",))
    model = compact(random_genome(jax.random.key(0), bounds, suite.input_size, suite.output_size), bounds)
    (section,) = sections(model, suite, tmp_path, "network")
    assert section.title == "What the network answers"
    (panel,) = section.panels
    assert "Outputs" in panel and "head" not in panel


def test_slots_that_no_head_uses_are_cut_at_the_ends():
    weightings = np.zeros((2, 100, 5))
    weightings[0, 40, 1] = weightings[1, 60, 2] = 0.9
    assert slots_in_use(weightings) == (40, 61)
    weightings[1, 60, 2] = 0.0
    assert slots_in_use(weightings) == (40, 52)  # never fewer than can be read
    assert slots_in_use(np.full((1, 100, 2), 0.01)) == (0, 100)  # diffuse: all of them
    assert slots_in_use(np.ones((1, 5, 2))) == (0, 5)


def test_a_front_has_a_panel_for_each_pair_and_numbers_that_do_not_overlap():
    values = np.linspace(0, 1, 30)
    rows = [
        {"number": number, "objectives": {"copy": value, "recall": value**2, "multiply_adds": 1 - value}}
        for number, value in enumerate(values.tolist())
    ]
    metrics = [{"generation": one, "hypervolume": 0.1 * one, "front_size": 10 * one} for one in range(3)]
    (section,) = members_sections(metrics, rows)
    assert section.title == "The front"
    assert len(section.panels) == 5
    assert "filled: few multiply-adds" in section.panels[0]
    named = _named(values, values**2)
    assert 29 in named
    gaps = np.abs(np.diff(np.stack([values, values**2])[:, sorted(named)], axis=1))
    assert np.all((gaps[0] > LABEL[0]) | (gaps[1] > LABEL[1]))
