"""Any settings that the command line accepts trace a generation; any that it refuses is one line and exit status 2."""

import contextlib
import io
import typing

import hypothesis
import hypothesis.strategies as st
import jax

from etm_jax import config, evolve
from etm_jax._command_line import one_line_errors
from etm_jax.evolution import make_problem
from etm_jax.evolution._generation import init, step

TASKS = {
    "networks": (
        ("copy=0.5,bits=2,max_length=2", "recall,bits=2,item_length=1,max_items=2"),
        ("addition,digits=2,max_length=2",),
        ("t_maze,length=3",),
        ("deceptive_maze",),
    ),
    "graph": (("t_maze,length=3",), ("deceptive_maze",)),
    "em33": (("t_maze,length=3",),),
    "em43": (("increment",),),
}
OTHERS = ("copy,max_length=2", "increment", "t_maze,length=3")  # of which no model takes all
COMMON = {
    "population-size": st.sampled_from((1, 2, 4, 6, 8)),
    "score-episodes": st.integers(1, 2),
    "devices": st.sampled_from((0, 1, 2, 4)),
    "individuals_per_batch": st.sampled_from((0, 1, 3)),
    "generations-per-chunk": st.integers(1, 2),
    "efficiency-weight": st.sampled_from((0.0, 0.2)),
    "selection.method": st.sampled_from(typing.get_args(config.Method)),
    "selection.num-elites": st.integers(0, 3),
    "selection.warmup-generations": st.integers(0, 2),
    "selection.average-survivors": st.booleans(),
    "selection.objectives": st.sampled_from((("performance", "parameters"), ("performance",), ("parameters", "copy"))),
    "selection.descriptors": st.sampled_from(
        (("num_slots", "parameters"), ("parameters",), ("slots_used",), ("final_x", "final_y"), ("no_such_thing",))
    ),
    "archive.kind": st.sampled_from(typing.get_args(config.ArchiveKind)),
    "archive.size": st.sampled_from((1, 8)),
    "archive.bins": st.integers(1, 3),
    "islands.count": st.sampled_from((1, 2, 4)),
    "islands.migrants": st.integers(1, 2),
}
NETWORKS = {
    "size_buckets": st.integers(1, 3),
    "precision": st.sampled_from(typing.get_args(config.Precision)),
    "population-storage": st.sampled_from(typing.get_args(config.Storage)),
    "lifetime.inheritance": st.sampled_from(typing.get_args(config.Inheritance)),
    "lifetime.optimiser": st.sampled_from(typing.get_args(config.Optimiser)),
    "lifetime.budget": st.sampled_from(typing.get_args(config.Budget)),
    "lifetime.rematerialise": st.booleans(),
    "lifetime.steps": st.integers(0, 2),
    "curriculum.start": st.sampled_from((0.0, 1.0)),
    "bounds.controllers": st.sampled_from((("lstm",), ("gru", "rnn"), ("feedforward",))),
    "bounds.memories": st.sampled_from((("ntm",), ("none", "tape"), ("dnc",), ("hard_tape", "none"))),
    "bounds.num-slots": st.sampled_from(((5, 7), (4, 4))),
    "bounds.num-read-heads": st.sampled_from(((1, 2), (1, 1))),
    "bounds.ponder-steps": st.sampled_from(((1, 1), (1, 3))),
    "bounds.num-layers": st.sampled_from(((1, 1), (1, 2))),
    "variation.crossover-rate": st.sampled_from((0.0, 0.5)),
    "variation.gene-rate": st.sampled_from((0.0, 0.2)),
    "variation.learning-sigma": st.sampled_from((0.0, 0.1)),
    "variation.align": st.booleans(),
}
OWN = {
    "networks": NETWORKS,
    "graph": {
        "graph.slots": st.sampled_from((0, 4)),
        "graph.recurrent": st.booleans(),
        "graph.activations": st.sampled_from((("tanh",), ("tanh", "sine"))),
    },
    "em33": {"emergent.bins": st.integers(1, 2), "emergent.steps": st.integers(1, 4)},
    "em43": {"emergent.programme-length": st.integers(1, 4), "emergent.window": st.sampled_from((16, 64))},
}


MOSTLY_NETWORKS = ("networks", "networks", "networks", "graph", "em33", "em43")


def words(name, value):
    """A setting as words of the command line."""
    if isinstance(value, bool):
        head, _, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{head}.no-{last}"]
    return [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]


@st.composite
def command_lines(draw):
    """A model, tasks that mostly suit it, settings of its own, and now and then of another model."""
    model, wrong = draw(st.sampled_from(MOSTLY_NETWORKS)), draw(st.integers(0, 19))
    tasks = (draw(st.sampled_from(OTHERS)),) if wrong == 0 else draw(st.sampled_from(TASKS[model]))
    choices = COMMON | OWN[draw(st.sampled_from(MOSTLY_NETWORKS)) if wrong == 1 else model]
    names = draw(st.lists(st.sampled_from(sorted(choices)), min_size=1, max_size=8, unique=True))
    settings = {name: draw(choices[name]) for name in names}
    found = ["--model", model, *(word for task in tasks for word in ("--task", task))]
    return found + [word for name, value in settings.items() for word in words(name, value)]


def made(argv):
    """The problem of a command line; what is refused ends as the command would."""
    command = evolve.read_command(argv)
    with one_line_errors():
        return make_problem(command.settings, evolve.suite_of(command.settings))


@hypothesis.settings(max_examples=40, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(command_lines())
def test_settings_trace_a_generation_or_are_refused_in_one_line(argv):
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            problem = made(argv)
    except SystemExit as stop:
        (line,) = errors.getvalue().splitlines()
        assert (stop.code, line[:7]) == (2, "error: ")
        return
    state = jax.eval_shape(lambda: init(problem, jax.random.key(0)))
    after, _ = jax.eval_shape(lambda state: step(problem, state), state)
    kinds = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(one)] for one in (state, after)]
    assert kinds[0] == kinds[1]
