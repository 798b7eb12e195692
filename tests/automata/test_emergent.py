"""Cellular automata: the packed kernel, the plain form and the oracle agree; a known genome doubles numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle_emergent as oracle
import pytest

from etm_jax.automata._convolution import ConvolutionalModel
from etm_jax.automata._em33 import EM33
from etm_jax.automata._em43 import EM43
from etm_jax.automata._formalism import answer_in_turn
from etm_jax.automata._genome import constrain_programme, constrain_rule, random_genome
from etm_jax.automata._tape import NO_OUTPUT, ROUND

DOUBLER_PROGRAMME = np.array([*map(int, "00000000000001000000000000200000")])
DOUBLER_RULE = np.array([*map(int, "0100123223201003122210112213030102202303301200000121031103023121")])
DOUBLED = {0: 1, 1: 2, 2: 4, 7: 14, 30: 60, 64: 128}
DOUBLER_STEPS = {1: 29, 2: 31, 7: 41, 30: 87, 64: 155}
SMALL = EM43(window=45, max_steps=60)  # the window ends within a word, the cap within a round
KEEP = np.asarray(constrain_rule(np.zeros(64, int)))  # whatever happens, markers and separators stay
NUMBERS = np.arange(0, 22, 3)


def genomes(count, length=10, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    return map(np.array, jax.vmap(lambda key: random_genome(key, length))(keys))


def expected(rules, programmes, inputs, em):
    """Outputs, steps and halted of the oracle, [population, batch] each."""
    found = [
        [oracle.run_tape(rule, programme, np.atleast_1d(each), em.window, em.max_steps)[:3] for each in inputs]
        for rule, programme in zip(rules, programmes, strict=True)
    ]
    return [np.array([[each[part] for each in row] for row in found]) for part in range(3)]


def test_the_known_genome_doubles_numbers():
    inputs = list(DOUBLED)
    one = EM43().run(DOUBLER_RULE, DOUBLER_PROGRAMME, inputs)
    many = EM43().run_population(DOUBLER_RULE[None], DOUBLER_PROGRAMME[None], inputs)
    for outputs, steps, halted in (one, [each[0] for each in many[:3]]):
        assert outputs.tolist() == list(DOUBLED.values())
        assert dict(zip(inputs, steps.tolist(), strict=True)).items() >= DOUBLER_STEPS.items()
        assert halted.all()


@pytest.mark.parametrize("inputs", [NUMBERS, np.array([[0, 0], [3, 1], [7, 12], [0, 5]])], ids=["one", "two"])
def test_packed_plain_and_oracle_agree_on_random_genomes(inputs):
    rules, programmes = genomes(70)
    rules[40:] = np.random.default_rng(0).integers(0, 4, (30, 64))  # rules without their fixed entries
    want = expected(rules, programmes, inputs, SMALL)
    packed = SMALL.run_population(rules, programmes, inputs, batch_size=16)
    for have, should in zip(packed[:3], want, strict=True):
        np.testing.assert_array_equal(have, should)
    assert 0.2 < want[2].mean() < 0.95  # tapes of both kinds
    assert len(set(want[1][want[2]].tolist())) > 5
    for index in (0, 5, 45, 60):
        for have, should in zip(SMALL.run(rules[index], programmes[index], inputs), want, strict=True):
            np.testing.assert_array_equal(have, should[index])


@pytest.mark.parametrize("window", [32, 64, 65, 33])
def test_windows_of_any_size_are_exact(window):
    em = EM43(window=window, max_steps=30)
    rules, programmes = genomes(12, length=8, seed=3)
    inputs = [0, 4, em.largest_input(8)]
    for have, should in zip(
        em.run_population(rules, programmes, inputs)[:3], expected(rules, programmes, inputs, em), strict=True
    ):
        np.testing.assert_array_equal(have, should)


def test_no_genome_is_lost_whatever_the_size_of_a_block():
    rules, programmes = genomes(33, seed=1)
    rules[:20], programmes[:20] = DOUBLER_RULE, 0
    programmes[:20, 4] = 1
    em = EM43(window=64, max_steps=100)
    runs = [em.run_population(rules, programmes, NUMBERS, batch_size=size) for size in (5, 33, 64)]
    for run in runs:
        for have, should in zip(run[:3], runs[1][:3], strict=True):
            np.testing.assert_array_equal(have, should)
    assert runs[0].rounds == runs[1].rounds
    assert runs[1].blocks == runs[1].rounds
    assert runs[0].blocks > 7 + int(runs[0].rounds) - 1  # a later round needed several blocks, and got them


def test_cycles_end_early_and_change_nothing():
    blink = KEEP.copy()  # a lone black cell and its right neighbour take turns, so the tape has a cycle of two
    black, blank = 1, 0
    blink[16 * blank + 4 * black + blank] = blank
    blink[16 * black + 4 * blank + blank] = black
    blink[16 * blank + 4 * blank + black] = black
    programme = np.array([0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    still = np.zeros(64, int)  # everything dies, and a blank tape does not halt
    em = EM43(window=64, max_steps=24 * 30)
    found = em.run_population(np.stack([blink, still]), np.stack([programme] * 2), [1, 2])
    want = expected([blink, still], [programme] * 2, [1, 2], em)
    for have, should in zip(found[:3], want, strict=True):
        np.testing.assert_array_equal(have, should)
    quiet = em.run_population(still[None], programme[None], [1, 2])
    assert (quiet.steps == em.max_steps).all() and not quiet.halted.any()
    assert quiet.rounds == 2  # blank from the first step on, seen after a whole round of it


def test_the_cap_holds_at_every_place_of_a_round():
    halts_at = DOUBLER_STEPS[1]
    for max_steps in (1, ROUND - 1, ROUND, ROUND + 1, halts_at - 1, halts_at):
        em = EM43(max_steps=max_steps)
        run = em.run_population(DOUBLER_RULE[None], DOUBLER_PROGRAMME[None], [1])
        assert run.halted.item() == (max_steps >= halts_at)
        assert run.steps.item() == min(max_steps, halts_at)
        assert run.outputs.item() == (2 if max_steps >= halts_at else NO_OUTPUT)


def test_a_halted_tape_without_red_has_no_output():
    blue = KEEP.copy()
    blue[8] = 0  # markers vanish
    run = SMALL.run(blue, np.zeros(10, int), [3])
    assert run.halted.all() and run.outputs.tolist() == [NO_OUTPUT]
    packed = SMALL.run_population(blue[None], np.zeros((1, 10), int), [3])
    assert packed.halted.all() and packed.outputs.tolist() == [[NO_OUTPUT]]


@pytest.mark.slow
def test_without_jit_the_same():
    rules, programmes = genomes(2, seed=2)
    em = EM43(window=40, max_steps=ROUND + 1)
    jitted = em.run_population(rules, programmes, [0, 5], batch_size=1)
    with jax.disable_jit():
        for have, should in zip(em.run_population(rules, programmes, [0, 5], batch_size=1), jitted, strict=True):
            np.testing.assert_array_equal(have, should)


def test_within_a_trace_numbers_outside_the_window_never_halt():
    inside = jax.jit(lambda inputs: SMALL.run_population(KEEP[None], np.zeros((1, 10), int), inputs))
    plain = jax.jit(lambda inputs: SMALL.run(KEEP, np.zeros(10, int), inputs))
    inputs = jnp.asarray([-1, 0, SMALL.largest_input(10), SMALL.largest_input(10) + 1, 10_000])
    for run in (inside(inputs), plain(inputs)):
        assert run.halted.ravel().tolist() == [False, True, True, False, False]
        assert run.outputs.ravel().tolist() == [NO_OUTPUT, 0, SMALL.largest_input(10), NO_OUTPUT, NO_OUTPUT]


def test_the_state_is_kept_from_one_answer_to_the_next():
    rules, programmes = genomes(20, seed=4)
    differs = 0
    for rule, programme in zip(rules, programmes, strict=True):
        model = SMALL.model(rule, 10)
        found = answer_in_turn(model, SMALL.initial_state(programme), jnp.asarray([4, 2]), SMALL.max_steps)
        _, steps, halted, tape = oracle.run_tape(rule, programme, [4], SMALL.window, SMALL.max_steps)
        np.testing.assert_array_equal(found.state[0], tape)
        assert (found.steps[0], found.halted[0]) == (steps, halted)
        tape = tape.copy()
        tape[10 + 3 + 2] = 2
        for _ in range(int(found.steps[1])):
            tape = oracle.step_tape(rule, tape)
        np.testing.assert_array_equal(found.state[1], tape)
        differs += found.output[1] != SMALL.run(rule, programme, [2]).outputs[0]
    assert differs > 0  # what came before mattered


def test_fixed_entries_hold_and_others_are_free():
    fixed = {0: 0, 8: 2, 2: 0, 32: 0, 15: 3, 60: 3, 3: 0, 48: 0}
    for value in range(4):
        rule = constrain_rule(np.full(64, value)).tolist()
        assert {entry: rule[entry] for entry in fixed} == fixed
        assert {rule[entry] for entry in range(64) if entry not in fixed} == {value}
    assert constrain_rule(np.full(27, 2)).tolist() == [0] + [2] * 26
    assert constrain_programme(np.array([0, 1, 2, 3])).tolist() == [0, 1, 2, 0]
    rules, programmes = genomes(200, length=30)
    np.testing.assert_array_equal(rules, jax.vmap(constrain_rule)(rules))
    shares = [(programmes == state).mean() for state in range(4)]
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1, 0.0], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.zeros(27, int), np.zeros(10, int), [1]), r"rules? must have shape \(64\), got \(27,\)"),
        ((np.full(64, 4), np.zeros(10, int), [1]), "rules? must be 0 to 3, got 4"),
        ((KEEP, np.full(10, 3), [1]), "programmes? must be 0 to 2, got 3; constrain_programme"),
        ((KEEP, np.zeros(10, int), [31]), "inputs must be 0 to 30, got 31; .*larger window"),
        ((KEEP, np.zeros(10, int), [-1]), "inputs must be 0 to 30, got -1"),
        ((KEEP, np.zeros(10, int), [[20, 9]]), "sums of inputs must be 0 to 28, got 29"),
        ((KEEP, np.zeros(10, int), [[1, 2, 3]]), "inputs must have shape"),
        ((KEEP, np.zeros(10, int), 3), "inputs must have shape"),
        ((KEEP, np.zeros(41, int), [0]), "raise it to 46 or more"),
    ],
)
def test_bad_input_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        SMALL.run(*arguments)
    rule, programme, inputs = arguments
    with pytest.raises(ValueError, match=says.split(r"\(64")[0]):
        SMALL.run_population(rule[None], programme[None], inputs)


def test_bad_types_and_sizes_are_refused():
    with pytest.raises(TypeError, match="inputs must be whole numbers, got float32"):
        SMALL.run(KEEP, np.zeros(10, int), [1.0])
    with pytest.raises(ValueError, match="window must be a whole number of at least 6, got 5"):
        EM43(window=5)
    with pytest.raises(ValueError, match="max_steps must be a whole number of at least 1, got True"):
        EM43(max_steps=True)
    with pytest.raises(ValueError, match="max_steps must be a whole number of at least 1, got 0"):
        EM43(max_steps=0)
    with pytest.raises(ValueError, match=r"programmes must have shape \(2, any\)"):
        SMALL.run_population(np.stack([KEEP] * 2), np.zeros((3, 10), int), [1])
    with pytest.raises(ValueError, match="64 entries"):
        constrain_rule(np.zeros(10, int))


@pytest.mark.parametrize("sizes", [(4, 8, 6, 24), (2, 4, 3, 9), (1, 3, 0, 2), (3, 5, 2, 7)])
def test_rings_equal_the_oracle(sizes):
    em = EM33(*sizes)
    generator = np.random.default_rng(0)
    rules, cells = generator.integers(0, 3, (6, 27)), generator.integers(0, 3, (6, em.num_cells))
    observed = generator.integers(0, em.bins, (6, em.num_variables))
    found = em.run_population(rules, cells, observed)
    for index in range(6):
        want = oracle.run_ring(rules[index], cells[index], observed[index], em.bins, em.programme_cells, em.steps)
        for have, should in zip(found, want, strict=True):
            assert have[index].tolist() == should
    for have, should in zip(em.run(rules[0], cells[0], observed[0]), found, strict=True):
        np.testing.assert_array_equal(have, should[0])


def test_rings_refuse_what_does_not_fit():
    em = EM33(num_variables=2, bins=3, programme_cells=1)
    rules, cells, observed = np.zeros((1, 27), int), np.zeros((1, 12), int), np.zeros((1, 2), int)
    for changed, says in (
        ((rules + 3, cells, observed), "rules must be 0 to 2, got 3"),
        ((rules, cells + 3, observed), "cells must be 0 to 2, got 3"),
        ((rules, cells, observed + 3), "observed must be 0 to 2, got 3"),
        ((rules, cells[:, 1:], observed), r"cells must have shape \(1, 12\)"),
        ((rules, cells, observed[:, :1]), r"observed must have shape \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=says):
            em.run_population(*changed)
    with pytest.raises(ValueError, match="cells must be a whole number of at least 3"):
        EM33(num_variables=1, bins=1, programme_cells=1)


def test_grids_equal_the_oracle():
    generator = np.random.default_rng(0)
    kernels = generator.uniform(-1, 1, (8, 3, 3)) + np.linspace(-0.5, 0.5, 8)[:, None, None]
    grids = generator.uniform(-0.3, 0.6, (8, 20, 20))
    inputs = generator.uniform(0, 1, (8, 2))
    halted = []
    for reward in (None, 0.5):
        for kernel, grid, pair in zip(kernels, grids, inputs, strict=True):
            last, steps, done = oracle.run_grid(kernel, grid, pair, reward, max_steps=12)
            found = ConvolutionalModel(max_steps=12).run(kernel, grid, pair, reward)
            assert (found.steps, found.halted) == (steps, done)
            np.testing.assert_allclose(found.grid, last, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.outputs, last[[3, 6], 19], rtol=1e-4, atol=1e-4)
            halted.append(done)
    assert 0 < sum(halted) < len(halted)


def test_grids_refuse_what_does_not_fit():
    model, kernel, grid = ConvolutionalModel(), np.zeros((3, 3)), np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"kernel must have shape \(3, 3\), got \(9,\)"):
        model.run(np.zeros(9), grid, [0.0, 0.0])
    with pytest.raises(ValueError, match=r"inputs must have shape \(2,\), got \(3,\)"):
        model.run(kernel, grid, [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="reward must be one number"):
        model.run(kernel, grid, [0.0, 0.0], reward=[1.0])
    with pytest.raises(ValueError, match="rate must be positive"):
        ConvolutionalModel(rate=0.0)
