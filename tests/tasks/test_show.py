"""`python -m etm_tasks show`: every task and environment can be read by a person."""

import numpy as np
import pytest
from rich.console import Console

import etm_tasks
from etm_jax.task import Episode
from etm_tasks import ENVIRONMENTS, FUNCTIONS, TASKS
from etm_tasks.__main__ import main
from etm_tasks._show import episode_table, in_words


def shown(capsys, *argv):
    """The lines that the command prints, and the cells of its table's rows, head and foot included."""
    main(["show", *argv])
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("│┃").split("│" if "│" in line else "┃")] for line in lines]
    return lines, [row for row in rows if len(row) > 1]


def as_printed(drawn):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(drawn)
    return capture.get()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_shown_step_by_step(name, capsys):
    lines, rows = shown(capsys, name, "--seed", "3")
    assert lines[0].startswith(f"{name}: ")
    if not hasattr(TASKS[name], "show"):
        assert rows[0] == ["step", "input", "due"]
        assert [row[0] for row in rows[1:]] == [str(step) for step in range(len(rows) - 1)]
        assert rows[-1][2] and rows[-1][0] != ""  # it ends with an answer
    assert "…" not in "".join(lines)  # nothing is cut off


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_a_random_walk_is_shown_in_every_environment(name, capsys):
    lines, rows = shown(capsys, name)
    assert lines[0].startswith(f"{name}: ")
    assert rows[0] == ["step", "seen", "action", "reward"]
    *steps, foot = rows[1:]
    if getattr(ENVIRONMENTS[name], "continuous", False):
        told = [part.rpartition(" ") for row in steps for part in row[2].split(", ")]
        assert {name for name, _, _ in told} == set(ENVIRONMENTS[name].actions)
        assert all(-1 <= float(value) <= 1 for _, _, value in told)
    else:
        assert {row[2] for row in steps} <= set(ENVIRONMENTS[name].actions)
    assert foot[2] == "total" and float(foot[3]) == pytest.approx(sum(float(row[3]) for row in steps), rel=1e-4)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_numbers_and_values_are_shown_of_every_function(name, capsys):
    lines, rows = shown(capsys, name)
    task = FUNCTIONS[name]()
    inputs = task.train_inputs()
    assert lines[0] == f"{name}: largest {task.largest}"
    assert [int(row[-1]) for row in rows[1:]] == task.targets(inputs).tolist()
    assert [row[0].split() for row in rows[1:]] == [[str(number) for number in operands] for operands in inputs]


def test_what_is_shown_of_copy_is_right(capsys):
    _, rows = shown(capsys, "copy", "--bits", "3", "--min-length", "4", "--max_length", "4")
    vectors = [row[1][:3] for row in rows[1:5]]
    assert set("".join(vectors)) == {"1", "·"}
    assert rows[5] == ["4", "···1", ""]
    assert [row[1:] for row in rows[6:]] == [["····", vector] for vector in vectors]


def test_a_walk_in_the_t_maze_names_what_is_seen(capsys):
    _, rows = shown(capsys, "t_maze", "--length", "1", "--seed", "4")
    assert rows[1][1] in ("cue left", "cue right")


def test_another_seed_shows_another_episode(capsys):
    first, other = shown(capsys, "copy"), shown(capsys, "copy", "--seed", "1")
    assert first != other
    assert first == shown(capsys, "copy", "--seed", "0")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "cpoy"], "error: unknown task 'cpoy'; the tasks are "),
        (["show", "copy", "--bits", "0"], "copy needs bits >= 1"),
        (["show", "copy", "--bitz", "3"], "Unrecognized options: --bitz"),
        (["show"], "NAME"),
        (["list"], "list"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_there_is(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_help_of_a_task_lists_its_options(capsys):
    for argv in (["show", "copy", "--help"], ["show", "-h", "copy"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
        assert "--max-length" in capsys.readouterr().out


def test_the_digits_of_a_sum_are_shown_as_they_are_written(capsys):
    _, rows = shown(capsys, "add_numbers", "--max-digits", "3", "--seed", "2")
    question = "".join(row[1] for row in rows[1:] if not row[2])
    first, second = question.rstrip("=").split("+")
    answer = "".join(row[2] for row in rows[1:])
    assert int(first[::-1]) + int(second[::-1]) == int(answer.rstrip("_")[::-1])


# the words


def test_bits_stand_side_by_side_and_numbers_beside_them():
    channels = np.array([[1, 0, -1, 0.5, 1], [0, 0, 1, -0.25, 0]])
    assert in_words(channels) == ["1·-  0.50 1", "··1 -0.25 ·"]


def test_of_many_bits_those_that_are_not_0_are_named():
    channels = np.zeros((2, 100))
    channels[0, [3, 64]] = [1, -1]
    assert in_words(channels) == ["3 -64", "·"]


def test_symbols_are_numbers_or_the_characters_of_the_alphabet():
    channels = np.eye(4)[[2, 0, 1]]
    channels = np.concatenate([channels, [[0, 0], [1, 0], [0, 1]]], axis=1)
    channels[1, :4] = 0
    assert in_words(channels, 4, 1) == ["2 ··", "· 1·", "1 ·1"]
    assert in_words(channels, 4, 1, "a \n|") == ["\\n ··", "· 1·", "␣ ·1"]
    assert in_words(channels[:, :4], 2, 2, "ab") == ["· a", "· ·", "b ·"]  # two places
    both = np.array([[1.0, 1.0, 0.0]])
    assert in_words(both, 3, 1) == ["11·"]  # these are no symbols


def test_a_symbol_task_is_shown_in_symbols_and_a_task_may_show_itself():
    class Spells(etm_tasks.Copy):
        num_symbols = 3
        alphabet = "abc"

    inputs = np.concatenate([np.eye(3)[[0, 2, 1]], np.array([[0], [0], [1]])], axis=1)
    targets = np.eye(3)[[0, 0, 1]]
    episode = Episode(inputs=inputs[None], targets=targets[None], step_valid=np.array([[False, True, False]]))
    text = as_printed(episode_table(Spells(), episode))
    assert "│    1 │ c ·   │ a   │" in text
    assert "│    2 │" not in text  # after the last answer

    class Draws(Spells):
        def show(self, episode):
            return "a picture"

    assert as_printed(episode_table(Draws(), episode)).strip() == "a picture"
