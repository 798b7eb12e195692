"""The arithmetic of the benchmarks of cost and growth, and what they read from JAX."""

import resource
import sys

import jax
import jax.numpy as jnp
import pytest

from bench import compile as compile_bench
from bench import growth, peers, pytorch_ntm, roofline, scaling
from bench._measure import Cost, costs_of, in_fresh_process, markdown, peak_rss_bytes, prepare
from bench._work import IN_TURN, NATIVE
from bench.run import unregistered
from etm_jax.networks import num_parameters, random_genome


def test_every_benchmark_is_registered():
    assert unregistered() == []


def test_a_program_is_timed_by_the_call():
    matrix = jnp.ones((8, 8))
    program = prepare(jnp.matmul, matrix, matrix, least_s=0.01)
    assert program.calls > 1
    assert program.program_bytes is not None
    assert program.program_bytes >= 3 * matrix.nbytes
    (cost,) = costs_of([program], rounds=2)
    assert len(program.case.wall_s) == 2
    assert cost.wall_s == pytest.approx(sum(program.case.wall_s) / 2 / program.calls)
    assert cost.seconds == cost.cpu_s  # on a CPU


def test_a_fresh_process_has_not_loaded_what_this_one_has():
    loaded = "'bench.growth' in __import__('sys').modules"
    assert eval(loaded)
    assert not in_fresh_process(eval, loaded)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_the_most_memory_is_what_the_system_accounts():
    accounted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak_rss_bytes() == pytest.approx(accounted, rel=0.2)


def test_markdown_has_a_line_below_the_headings():
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_useful_operations_and_the_share_they_reach():
    # 10 multiply-adds a step, 3 steps, 4 episodes, a training step: 2 * 10 * 3 * 4 * 3
    flop = roofline.useful_flop(10.0, 3, 4, roofline.FORWARDS[roofline.TRAINING])
    assert flop == 720
    cost = Cost(seconds=2.0, cpu_s=2.0, wall_s=5.0, compile_s=0.0, program_bytes=None)
    measured = [roofline.figures(roofline.TRAINING, "one vmap", flop, cost)]
    (row,) = roofline.with_shares(measured, square=720.0, controller=1440.0)
    assert (row["flop_per_s"], row["of_square"], row["of_controller"]) == (360.0, 0.5, 0.25)


def test_the_controllers_product_counts_all_its_steps():
    flop, program = roofline.controller_product(2, 3, count=5)
    assert flop == 5 * 2 * (2 * 3 * 12)
    program.case.run()


@pytest.mark.parametrize(
    ("units", "amounts", "expected"),
    [
        ((1, 2, 4), (5.0, 10.0, 20.0), [1.0, 1.0]),  # in proportion
        ((1, 2), (5.0, 20.0), [2.0]),  # with the square
        ((10, 80), (1.0, 64.0), [2.0]),  # the square again, over three doublings at once
        ((1, 2), (5.0, 5.0), [0.5]),  # a constant
        ((1, 2, 4), (5.0, None, 20.0), [None, None]),
    ],
)
def test_growth_is_by_the_unit_and_by_the_doubling(units, amounts, expected):
    assert growth.growth(units, amounts) == pytest.approx(expected)


def grown(seconds, sizes, form=IN_TURN):
    about = {"axis": "slots", "work": "forward", "form": form}
    return growth.with_growth(
        [
            about | {"units": 2**index, "seconds": time, "program_bytes": size}
            for index, (time, size) in enumerate(zip(seconds, sizes, strict=True))
        ]
    )


def test_either_of_seconds_and_bytes_breaks_the_target():
    rows, series = grown((1.0, 2.5, 6.8, 13.6), (8, 16, 32, 100)), ("slots", "forward", IN_TURN)
    assert [row["within"] for row in rows] == [None, True, False, False]
    name = f"slots, forward, {IN_TURN}"
    assert growth.sentence(series, rows) == f"{name}: more than 1.3x from 2 to 4, 4 to 8"
    assert growth.sentence(series, rows[:2]) == f"{name}: within 1.3x"
    assert growth.sentence(series, rows[:1]) == f"{name}: nothing to compare"


def test_each_form_has_its_target():
    rows = grown((1.0, 2.5, 5.0), (8, 16, 32), NATIVE)  # 1.25 times the seconds for a unit, then as many
    assert [row["within"] for row in rows] == [None, False, True]
    assert (
        growth.sentence(("slots", "forward", NATIVE), rows) == f"slots, forward, {NATIVE}: more than 1.15x from 1 to 2"
    )


@pytest.mark.parametrize(("gib", "verdict"), [(3.9, "fits into 4 GiB"), (4.1, "does NOT fit into 4 GiB")])
def test_the_largest_network_must_fit(gib, verdict):
    row = {"work": "training step", "form": NATIVE, "units": 1001, "cpu_s": 2.0, "rss": gib * 2**30}
    assert growth.fits(row, 1024).endswith(verdict)


def test_the_growth_figure_is_drawn(tmp_path):
    rows = grown((1.0, 2.0), (8, None))
    growth.draw(growth.by_series(rows), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_lengths_are_measured_with_rematerialisation():
    points = growth.points(growth.Settings())
    assert {point.axis for point in points if point.work == growth.REMATERIALISED} == {"length"}
    assert {point.units for point in points if point.axis == "length"} == {21, 41, 101, 201, 401, 1001, 2001}


def test_the_kernel_is_measured_wherever_it_computes_what_xla_does(monkeypatch):
    monkeypatch.setattr(growth, "why_not", lambda spec: "")
    names = {(point.axis, point.work): [form.name for form in growth.forms(point)] for point in some_points()}
    assert {work for (_, work), found in names.items() if NATIVE not in found} == {growth.REMATERIALISED}
    assert names[growth.LONGEST, growth.TRAINING] == [NATIVE]


def test_growth_is_measured_without_a_kernel(monkeypatch):
    monkeypatch.setattr(growth, "why_not", lambda spec: "no C++ compiler was found")
    names = {(point.axis, point.work): [form.name for form in growth.forms(point)] for point in some_points()}
    assert names.pop((growth.LONGEST, growth.TRAINING)) == []
    assert set(map(tuple, names.values())) == {(IN_TURN,)}


def some_points():
    return growth.points(growth.Settings(populations=(2,), slots=(8,), lengths=(3,)))


def test_what_the_kernel_and_what_xla_reaches_have_targets_of_their_own():
    shares = [("one vmap", 0.2), ("buckets", 0.4), (NATIVE, 0.5)]
    found = roofline.verdicts(
        [{"work": work, "name": name, "of_square": share} for work in roofline.FORWARDS for name, share in shares]
    )
    assert [text.rsplit("; ")[-1] for text in found] == [
        "target 0.35 reached",
        "target 0.6 missed",
        "target 0.35 reached",
        "target 0.45 reached",
    ]
    assert all("0.400" in text and "buckets" in text for text in found[::2])


def test_two_cores_are_compared_with_one():
    rows = [{"wall_s": 3.6}, {"wall_s": 2.0}]
    assert scaling.faster(rows).endswith("2 devices are 1.80 times as fast as 1; target 1.8 reached")
    assert scaling.faster([{"wall_s": 3.6}, {"wall_s": 2.1}]).endswith("missed")
    assert "nothing to compare" in scaling.faster(rows[:1])


def test_what_it_took_to_learn_is_the_first_look_at_which_enough_was_right():
    looks = [
        {"sequences": 16, "cpu_s": 1.0, "bits_right": 0.991, "sequences_right": 0.98},
        {"sequences": 32, "cpu_s": 2.0, "bits_right": 0.999, "sequences_right": 0.99},
    ]
    learned = {"form": "ours", "seed": 1, "compile_s": 0.0, "looks": looks}
    gave_up = learned | {"looks": looks[:1]}
    assert pytorch_ntm.line(learned, 0.99)[2:5] == ("32", "2.0", "1.0")
    assert pytorch_ntm.line(gave_up, 0.99)[2:5] == ("16", "not reached in 1", "1.0")
    text = pytorch_ntm.sentence("ours", [learned, gave_up], 0.99)
    assert text == "ours: 1 of 2 seeds reach 99% of the sequences, median 2.0 CPU s"
    assert pytorch_ntm.sentence("ours", [gave_up], 0.99) == "ours: 0 of 1 seeds reach 99% of the sequences"


def test_efficiency_over_devices():
    rows = [
        {"devices": 1, "individuals": 4, "wall_s": 1.0, "cpu_s": 1.0},
        {"devices": 2, "individuals": 8, "wall_s": 1.25, "cpu_s": 2.0},  # weak: t(1) / t(n)
        {"devices": 4, "individuals": 4, "wall_s": 0.5, "cpu_s": 2.0},  # strong: t(1) / (n t(n))
    ]
    found = scaling.with_efficiency(rows)
    assert [row["wall_efficiency"] for row in found] == [1.0, 0.8, 0.5]
    assert [row["cpu_efficiency"] for row in found] == [1.0, 1.0, 0.5]


def test_more_devices_than_cores_are_pointed_out():
    assert "only CPU seconds" in scaling.caution("cpu", 8, 2)
    assert "only CPU seconds" not in scaling.caution("cpu", 2, 2)


def test_compiles_are_counted_once_each_and_named():
    @jax.jit
    def first_of_its_kind(x):
        return jnp.sin(x) + 1

    x, y = jnp.ones(3), jnp.ones(4)
    with compile_bench.Compiles() as compiles:
        first_of_its_kind(x)
        first_of_its_kind(x)
        first_of_its_kind(y)
    first_of_its_kind(jnp.ones(5))  # no longer counted
    names = [program.name for program in compiles.programs]
    assert names == ["jit(first_of_its_kind)"] * 2
    assert all(program.end > program.start for program in compiles.programs)
    assert len(compiles.spans) >= 4  # tracing and lowering of both


def test_overlapping_and_nested_spans_count_once():
    assert compile_bench.covered([(5.0, 6.0), (0.0, 4.0), (1.0, 2.0), (3.0, 4.5)]) == 5.5
    assert compile_bench.covered([]) == 0.0


def test_the_share_of_compiling_is_continued_to_a_whole_run():
    def program(name, start, end):
        return {"name": name, "start": start, "end": end}

    programs = [program("init", 0, 2), program("chunk", 2, 10), program("slice", 13, 14), program("report", 19, 20)]
    run = {
        "began": 0.0,
        "ended": 20.0,
        "marks": [12.0, 18.0],
        "programs": programs,
        "spans": [(each["start"], each["end"]) for each in programs],
        "traced_s": 0.0,
        "hits": 0,
    }
    large = compile_bench.large_names(run) - {"slice", "report"}
    found = compile_bench.summary(run, whole_run=18, large=large, choices=1)
    assert (found["large"], found["small"]) == (2, 1)  # what comes after the last generation is not counted
    assert found["generation_s"] == 5.0  # 6 seconds between the two, one of them compiling
    assert found["share"] == 12 / 20
    assert found["share_of_whole_run"] == 12 / (20 + 16 * 5)
    # three choices of buckets: at most what was compiled before the first generation's end, two times more
    again = compile_bench.summary(run, whole_run=18, large=large, choices=3)
    assert again["large_of_whole_run"] == 2 + 2 * 2
    assert again["share_of_whole_run"] == (12 + 2 * 10) / (20 + 2 * 10 + 16 * 5)
    parts = [line[:2] for line in compile_bench.listed(programs, run["marks"])]
    assert parts[2:] == [(compile_bench.EVOLVING, "slice"), (compile_bench.AFTER, "report")]


def test_one_generation_is_refused_since_it_shows_no_time_between_two():
    with pytest.raises(ValueError, match="generations must be at least 2, got 1"):
        compile_bench.Settings(generations=1)


def test_peers_get_as_many_weights_as_our_genome():
    def counted(key):
        genome = random_genome(key, peers.TINY, peers.INPUT_SIZE, peers.OUTPUT_SIZE)
        return num_parameters(genome, peers.TINY)

    assert peers.num_weights(peers.TINY) == jax.jit(counted)(jax.random.key(0))
    with pytest.raises(ValueError, match="one shape"):
        peers.num_weights(peers.Bounds((5, 6), (3, 4), (1, 1), (1, 1), (4, 6)))


def test_nanoseconds_are_of_one_weight_of_one_individual():
    assert peers.nanoseconds(2.0, generations=10, population_size=100, weights=1000) == pytest.approx(2000.0)
