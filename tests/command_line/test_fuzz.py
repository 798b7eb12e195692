"""Any settings that the command line accepts trace a generation; any that it refuses is one line and exit status 2."""

import contextlib
import dataclasses
import io
import typing

import hypothesis
import hypothesis.strategies as st
import jax
import pytest
from test_command_line import flags_of

from etm_jax._command_line import one_line_errors, suite_of
from etm_jax.config import EvolutionaryTuringConfig
from etm_jax.evolution import make_problem
from etm_jax.evolution._founders import raised
from etm_jax.evolution._generation import init, step
from etm_jax.evolve import read_command
from etm_jax.models import MODELS
from etm_jax.models._model import Inheritance
from etm_jax.networks._config import Storage
from etm_jax.networks.learning._config import Budget, Optimiser, Precision
from etm_jax.networks.native import NativeSetting
from etm_jax.networks.variation._mutation import Crossover, Founders
from etm_jax.selection import ARCHIVES, SELECTORS

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
    "devices": st.sampled_from((0, 1, 2, 4)),
    "individuals-per-batch": st.sampled_from((0, 1, 3)),
    "generations-per-chunk": st.integers(1, 2),
    "efficiency-weight": st.sampled_from((0.0, 0.2)),
    "crossover-rate": st.sampled_from((0.0, 0.5)),
    "immigrant-rate": st.sampled_from((0.0, 0.5)),
    "selection.warmup-generations": st.integers(0, 2),
    "selection.average-survivors": st.booleans(),
    "selection.objectives": st.sampled_from((("performance", "parameters"), ("performance",), ("parameters", "copy"))),
    "selection.descriptors": st.sampled_from(
        (("num_slots", "parameters"), ("parameters",), ("slots_used",), ("final_x", "final_y"), ("no_such_thing",))
    ),
    "selection.cases": st.sampled_from(("tasks", "tasks", "episodes")),
    "fitness.longer": st.sampled_from(((), (), ("2=0.5",), ("5=0.25", "2=1"), ("1=1",))),
    "fitness.longer-episodes": st.integers(0, 2),
    "islands.count": st.sampled_from((1, 2, 4)),
    "islands.migrants": st.integers(1, 2),
}
EPISODES = {"score-episodes": st.integers(1, 2), "curriculum.start": st.sampled_from((0.0, 1.0))}
NETWORKS = EPISODES | {
    "size-buckets": st.integers(0, 3),
    "rebucket-every": st.integers(0, 2),
    "precision": st.sampled_from(typing.get_args(Precision)),
    "native": st.sampled_from(typing.get_args(NativeSetting)),
    "population-storage": st.sampled_from(typing.get_args(Storage)),
    "seed-capacity": st.sampled_from((1, 8)),
    "lifetime.inheritance": st.sampled_from(typing.get_args(Inheritance)),
    "lifetime.optimiser": st.sampled_from(typing.get_args(Optimiser)),
    "lifetime.budget": st.sampled_from(typing.get_args(Budget)),
    "lifetime.rematerialise": st.booleans(),
    "lifetime.steps": st.integers(0, 2),
    "bounds.controllers": st.sampled_from((("lstm",), ("gru", "rnn"), ("feedforward",))),
    "bounds.memories": st.sampled_from((("ntm",), ("none", "tape"), ("dnc",), ("hard_tape", "none"))),
    "bounds.num-slots": st.sampled_from(((5, 7), (4, 4))),
    "bounds.num-read-heads": st.sampled_from(((1, 2), (1, 1))),
    "bounds.ponder-steps": st.sampled_from(((1, 1), (1, 3))),
    "bounds.num-layers": st.sampled_from(((1, 1), (1, 2))),
    "variation.gene-rate": st.sampled_from((0.0, 0.2)),
    "variation.learning-sigma": st.sampled_from((0.0, 0.1)),
    "variation.align": st.booleans(),
    "variation.founders": st.sampled_from(typing.get_args(Founders)),
    "variation.crossover": st.sampled_from(typing.get_args(Crossover)),
    "lifetime.births": st.sampled_from((1, 2, 3)),
    "lifetime.resting": st.sampled_from((0, 1, 9)),
}
AUTOMATA = {"variation.rule-rate": st.sampled_from((0.0, 1.0)), "variation.programme-rate": st.sampled_from((0.0, 2.0))}
OWN = {
    "networks": NETWORKS,
    "graph": EPISODES
    | {
        "slots": st.sampled_from((0, 4)),
        "max-nodes": st.sampled_from((4, 24)),
        "connected": st.booleans(),
        "recurrent": st.booleans(),
        "activations": st.sampled_from((("tanh",), ("tanh", "sine"), ("cubic",))),
        "variation.add-node-rate": st.sampled_from((0.0, 1.0)),
    },
    "em33": EPISODES
    | AUTOMATA
    | {
        "bins": st.integers(1, 2),
        "programme-cells": st.integers(0, 2),
        "steps": st.integers(1, 4),
        "variation.rule": st.sampled_from(("0" * 27, "3" * 27)),
    },
    "em43": AUTOMATA
    | {
        "programme-length": st.integers(1, 4),
        "window": st.sampled_from((16, 64)),
        "max-steps": st.integers(1, 8),
        "variation.rule": st.sampled_from(("0" * 64, "0" * 27)),
    },
}
SHARES, SIZES = st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((1, 8))
OPTIONS = {  # of a selector or an archive, by the name of the setting
    "num_elites": st.integers(0, 3),
    "size": SIZES,
    "share": SHARES,
    "turnover": SHARES,
    "alpha": SHARES,
    "radius": SHARES,
    "bins": st.integers(1, 3),
    "num_descriptors": st.integers(0, 2),
    "neighbours": SIZES,
    "admitted": SIZES,
    "weight": SHARES,
}

MOSTLY_NETWORKS = ("networks", "networks", "networks", "graph", "em33", "em43")


def options_of(choice, kind):
    """The flags of a selector or an archive."""
    names = [item.name for item in dataclasses.fields(kind)]
    return {f"{choice}.{name.replace('_', '-')}": OPTIONS[name] for name in names}


def words(name, value):
    """A setting as words of the command line."""
    if isinstance(value, bool):
        head, dot, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{head}{dot}no-{last}"]
    return [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]


@st.composite
def command_lines(draw):
    """A model, tasks that mostly suit it, its own settings and those of what it selects by, now and then another's."""
    model, wrong = draw(st.sampled_from(MOSTLY_NETWORKS)), draw(st.integers(0, 19))
    tasks = (draw(st.sampled_from(OTHERS)),) if wrong == 0 else draw(st.sampled_from(TASKS[model]))
    choices = COMMON | OWN[draw(st.sampled_from(MOSTLY_NETWORKS)) if wrong == 1 else model]
    found = ["--model", model, *(word for task in tasks for word in ("--task", task))]
    for choice, kinds in (("selection", SELECTORS), ("archive", ARCHIVES)):
        kind = draw(st.sampled_from((None, *kinds)))
        if kind is not None:
            found += [f"--{choice}", kind]
            own = draw(st.sampled_from(sorted(kinds))) if wrong == 2 else kind
            choices = choices | options_of(choice, kinds[own])
    names = draw(st.lists(st.sampled_from(sorted(choices)), min_size=1, max_size=8, unique=True))
    settings = {name: draw(choices[name]) for name in names}
    return found + [word for name, value in settings.items() for word in words(name, value)]


def made(argv):
    """The problem of a command line; what is refused ends as the command would."""
    command = read_command(argv)
    with one_line_errors():
        return make_problem(command.settings, suite_of(command.settings))


@pytest.mark.parametrize("model", MODELS)
def test_the_flags_that_are_tried_are_flags_of_the_model(model):
    engine = EvolutionaryTuringConfig(model=MODELS[model].Config())
    there = flags_of(engine) | flags_of(engine.model) | flags_of(engine.selection, "selection.")
    assert {f"--{name}" for name in COMMON | OWN[model]} <= there


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
    raises = getattr(problem.model, "births", 1) > 1
    founders = jax.eval_shape(lambda state: raised(problem, state), state) if raises else state
    kinds = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(one)] for one in (state, after, founders)]
    assert kinds[0] == kinds[1] == kinds[2]
