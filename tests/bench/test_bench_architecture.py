"""The harness of evolved, designed and random architectures: equal budgets, fixed rules, intervals."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.architecture import __main__ as command
from bench.architecture import _search as search
from bench.architecture import _summary as summary
from bench.architecture._contenders import (
    EXAMINED,
    GRAVES,
    LEARNING,
    LOOK,
    PATIENCE,
    REPORTED,
    TASKS,
    Halved,
    Plan,
    Restarted,
    ablations,
    contenders,
)
from bench.architecture._exam import HELD_OUT_STREAM, VALIDATION_STREAM, Choice, Exam, Stopwatch
from etm_jax.networks import Bounds
from etm_tasks import make_suite

PLAN = Plan("copy", "graves", seed=3, budget=10.0)
COPY = make_suite((TASKS["copy"].spec,))


class Seconds(Stopwatch):
    """A watch on which each piece of work takes a second, and the rest nothing."""

    def on(self, what):
        self.spent[what] = self[what] + (what == "work")
        return super().on("other")


class Ranked:
    """An exam whose ranks are the networks themselves."""

    def __init__(self, watch):
        self.watch = watch

    def rank(self, genome):
        return genome, genome


@pytest.fixture
def fake(monkeypatch):
    """Trainings whose networks are numbers: `curve(number of the start, looks)`."""

    def install(curve, budget):
        starts = []

        def start(key):
            del key
            starts.append(None)
            return SimpleNamespace(number=len(starts) - 1, step=0)

        def advance(trainee):
            return SimpleNamespace(number=trainee.number, step=trainee.step + LOOK // LEARNING.batch_size)

        def network(trainee):
            return curve(trainee.number, trainee.step * LEARNING.batch_size // LOOK)

        trainer = SimpleNamespace(start=start, advance=advance, network=network)
        monkeypatch.setattr(search, "Trainer", SimpleNamespace(of=lambda *given: trainer))
        monkeypatch.setattr(search.Work, "exam", lambda work, bounds, genome: Ranked(work.watch))
        return search.Work(replace(PLAN, budget=budget), COPY, Seconds()), starts

    return install


def test_a_restart_ends_once_it_has_not_improved_for_the_patience(fake):
    patience = PATIENCE // LOOK

    def curve(number, look):  # number 0 is only compiled on; the first restart improves twice, the second always
        return min(look, 2) / 100 if number == 1 else look / 1000

    work, starts = fake(curve, budget=2 + patience + 5)
    choice, _, counts = search.restart(work, Restarted(GRAVES))
    assert counts == {"restarts": 2, "steps": (2 + patience + 5) * LOOK // LEARNING.batch_size}
    assert len(starts) == 3
    assert work.watch["work"] == 2 + patience + 5
    assert (choice.best, choice.looks) == (0.02, 2 + patience + 5)
    assert [seconds for seconds, _ in choice.progress] == [1, 2]


def test_a_training_ends_once_no_other_network_can_be_chosen(fake):
    work, _ = fake(lambda number, look: min(look / 8, 1.0), budget=50.0)
    choice, _, counts = search.restart(work, Restarted(GRAVES))
    assert counts == {"restarts": 1, "steps": 8 * LOOK // LEARNING.batch_size}
    assert (choice.final, choice.best, work.watch["work"]) == (True, 1.0, 8)


def test_halving_gives_each_rung_as_much_and_keeps_the_better_half(fake):
    # Four of quality 0 to 3 start; rungs of 4, 2 and 1 networks take 8 s each.
    looks: dict[int, int] = {}

    def curve(number, look):
        looks[number] = max(looks.get(number, 0), look)
        return number + look / 100

    work, _ = fake(curve, budget=24.0)
    choice, _, counts = search.halve(work, Halved(Bounds(), candidates=4))
    assert looks == {0: 2, 1: 2, 2: 2 + 4, 3: 2 + 4 + 8}
    assert choice.best == 3.14
    assert work.watch["work"] == 24
    assert counts == {"candidates": 4, "steps": 24 * LOOK // LEARNING.batch_size}


def test_halving_gives_every_candidate_a_look_even_when_one_takes_more_than_its_share(fake):
    work, _ = fake(lambda number, look: float(number), budget=1.0)
    search.halve(work, Halved(Bounds(), candidates=4))
    assert work.watch["work"] == 4 + 2 + 1


def test_the_lstm_has_as_many_weights_as_the_network_with_memory():
    lstm = contenders()["lstm"]
    wanted = search.weights_in(GRAVES.bounds, COPY)
    assert wanted == 62_260
    chosen = search.with_weights(lstm.network, wanted, COPY)
    units = chosen.controller_size

    def by_hand(units):
        return 4 * units * (9 + units + 1) + 8 * (units + 1)

    assert by_hand(units - 1) < wanted <= search.weights_in(chosen.bounds, COPY) == by_hand(units)


def test_every_task_has_a_form_at_every_size():
    for task in TASKS.values():
        suite = make_suite((task.spec,))
        steps = [suite.num_steps] + [suite.longer(factor).num_steps for factor in EXAMINED[1:]]
        assert steps == sorted(set(steps))


def test_without_variation_and_without_selection_nothing_else_changes():
    who = contenders()
    evolved, still, drifting = (who[name].config for name in ("evolved", "no_variation", "no_selection"))
    rates = still.model.variation
    assert (rates.gene_rate, rates.noise_rate, rates.learning_sigma, rates.diversity_floor) == (0, 0, 0, 0)
    assert (still.crossover_rate, still.immigrant_rate) == (0, 0)
    same = {"crossover_rate": evolved.crossover_rate, "immigrant_rate": evolved.immigrant_rate}
    assert replace(still, model=replace(still.model, variation=evolved.model.variation), **same) == evolved
    assert (drifting.selection.method.kind, drifting.selection.method.num_elites) == ("uniform", 0)
    restored = replace(drifting.selection, method=evolved.selection.method)
    assert replace(drifting, selection=restored) == evolved


def test_every_ablation_changes_something_and_is_no_contender():
    evolved, ablated = contenders()["evolved"], ablations()
    assert not set(ablated) & set(contenders())
    assert evolved not in ablated.values() and len(set(ablated.values())) == len(ablated)
    command.check(replace(command.Settings(), contenders=tuple(ablated)))


def test_the_validation_chooses_on_other_episodes_than_the_exam():
    plan = replace(PLAN, validation=2, held_out=4)
    asked: list = []

    def program(factor):
        def run(key, genome):
            asked.append((factor, tuple(np.asarray(key._base_array))))
            return {"accuracy": np.float32(np.nan), "performance": np.float32(0.5)}

        return run

    exam = Exam(plan, COPY, GRAVES.bounds, Stopwatch())
    exam._programs = {factor: program(factor) for factor in EXAMINED}
    choice = Choice(exam)
    assert choice.offer(np.zeros(1)) == (0.0, 0.5)  # what is not finite counts as wrong
    chosen, asked[:] = list(asked), []
    exam.held_out(np.zeros(1))
    assert [factor for factor, _ in chosen] == list(EXAMINED)
    assert [factor for factor, _ in asked] == [factor for factor in EXAMINED for _ in range(2)]
    assert len({key for _, key in chosen + asked}) == len(chosen) + len(asked)
    assert VALIDATION_STREAM != HELD_OUT_STREAM


def test_the_fingerprint_is_of_the_settings_and_not_of_the_seed():
    assert replace(PLAN, seed=4).fingerprint == PLAN.fingerprint
    others = (replace(PLAN, **change) for change in ({"budget": 5.0}, {"task": "recall"}, {"contender": "lstm"}))
    assert len({PLAN.fingerprint, *(plan.fingerprint for plan in others)}) == 4


def test_what_is_there_is_not_run_again_and_other_settings_are_refused(tmp_path):
    path = tmp_path / "run.json"
    assert not command.kept(path, PLAN)
    path.write_text(f'{{"fingerprint": "{PLAN.fingerprint}"}}')
    assert command.kept(path, PLAN)
    with pytest.raises(SystemExit, match="other settings; move it"):
        command.kept(path, replace(PLAN, budget=5.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("copies",)}, "unknown tasks copies; there are copy, "),
        ({"contenders": ("best",)}, "unknown contenders best; there are evolved, "),
        ({"budget": 0.0}, "--budget must be above 0 CPU seconds, got 0.0"),
        ({"seeds": (0, REPORTED[0])}, r"seeds \[101\] are for settings that are fixed; commit them first"),
    ],
)
def test_bad_settings_are_refused(changes, message, monkeypatch):
    monkeypatch.setattr(command, "commit", lambda: "abc-dirty")
    with pytest.raises(SystemExit, match=message):
        command.check(replace(command.Settings(), **changes))


def test_reported_seeds_run_from_a_commit(monkeypatch):
    monkeypatch.setattr(command, "commit", lambda: "abc")
    command.check(replace(command.Settings(), seeds=REPORTED))


def test_the_intervals_are_students_and_welchs():
    assert summary.half_width([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1.963, abs=1e-3)
    assert summary.shown([0.5]) == "0.500"
    # Equal variances and numbers: 8 degrees of freedom, t = 2.306, standard error sqrt(2.5 / 5 + 2.5 / 5).
    low, high = summary.difference([4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (low, high) == pytest.approx((3 - 2.306, 3 + 2.306), abs=1e-3)
    assert summary.verdict((low, high)) == "better"
    assert summary.verdict((-0.2, -0.1)) == "worse"
    assert summary.verdict((-0.1, 0.1)) == "not told apart"
    assert summary.difference([1.0, 1.0], [1.0, 1.0]) == (0, 0)
    assert summary.verdict(summary.difference([1.0, 1.0], [0.5, 0.5])) == "better"
    assert summary.verdict(summary.difference([1.0], [0.5, 0.6])) == "one seed"


def run_of(contender, seed, score, **changes):
    held_out = {str(factor): {"accuracy": score, "performance": score} for factor in EXAMINED}
    about = {"task": "copy", "contender": contender, "seed": seed, "budget": 10.0, "fingerprint": contender}
    cost = {"parameters": 100 if contender == "evolved" else 400, "multiply_adds": 50.0 * (1 + seed)}
    spent = {"cpu_s": {"work": 10.0, "compile": 3.0}, "counts": {"restarts": 2 + 2 * seed}}
    where = {"commit": "abc", "processor": "any", "limits": "", "date": f"2026-11-{10 + seed}"}
    return about | cost | spent | {"held_out": held_out, "context": where} | changes


RUNS = [run_of("evolved", seed, 0.9 + seed / 100) for seed in range(2)]
RUNS += [run_of("graves", seed, 0.5 + seed / 100) for seed in range(2)]


def test_the_tables_say_what_the_runs_hold():
    text = summary.tables(RUNS)
    assert "| graves | 2 | 0.505 ± 0.064 |" in text
    assert "| 400 | 75 | 10.0 | 3.0 | 3 restarts |" in text
    assert "| evolved | graves | better (+0.370 to +0.430) |" in text
    assert text.endswith("commit: abc\n\nprocessor: any\n\nlimits: none\n\ndate: 2026-11-10, 2026-11-11\n")
    assert "- evolved beside graves: better: copy; 0.25 of its weights" in text


def test_runs_of_several_settings_are_not_averaged():
    with pytest.raises(ValueError, match="graves on copy had different settings"):
        summary.tables([*RUNS, run_of("graves", 2, 0.5, fingerprint="other")])
    with pytest.raises(ValueError, match=r"the same budget, got \[5.0, 10.0\]"):
        summary.tables([*RUNS, run_of("lstm", 2, 0.5, budget=5.0)])


def test_the_figure_is_drawn(tmp_path):
    summary.draw(RUNS, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
