"""Commands, flags and settings files that the documentation shows are ones that the library takes."""

import contextlib
import importlib
import io
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from etm_jax._toml import replaced
from etm_jax.models import MODELS
from etm_jax.presets import PRESETS
from etm_jax.selection import ARCHIVES, SELECTORS
from etm_jax.training import TrainConfig

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tasks/README.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
FLAG = r"--[a-z][a-z-]*(?:\.[a-z-]+)?"
# Of other programs, or of scripts; and those that etm_jax.evolve and etm_jax.train treat before they parse.
OTHERS = {"--quick", "--out", "--slow", "--first-seed", "--figure", "--option", "--all", "--help", "--help-all"}


def reader(command):
    """What reads the command line; a module `etm_jax.evolve` is hidden by the function of the same name."""
    importlib.import_module(command)
    return sys.modules[command].read_command


def shell_lines():
    """The command lines of all pages and results, with the file that shows each."""
    for page in PAGES:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for block in (block for language, block in blocks if language in ("", "sh")):
            for line in block.replace("\\\n", " ").splitlines():
                yield page, line
    for path in RESULTS:
        result = json.loads(path.read_text(encoding="utf-8"))
        for line in [result["command"], *"\n".join(result.get("usage", ())).replace("\\\n", " ").splitlines()]:
            yield path, line


def commands():
    """Command, its words, and the file; those that need a run folder are left out."""
    for path, line in shell_lines():
        for command, words in re.findall(r"python -m (etm_jax\.(?:evolve|train))\b(.*)", line):
            argv = shlex.split(words.replace("SEED", "0"), comments=True)
            if "--resume" not in argv and argv[:1] != ["report"]:
                yield path, command, argv


def test_commands_are_found():
    assert len(list(commands())) > 20


@pytest.mark.parametrize(
    ("path", "command", "argv"), [pytest.param(*one, id=f"{one[0].stem}: {' '.join(one[2])}") for one in commands()]
)
def test_a_command_is_taken(path, command, argv, monkeypatch):
    del path
    monkeypatch.chdir(ROOT)  # settings files are named from there
    reader(command)(argv)


def flags_of(command, *argv):
    """The flags of its full help."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        reader(command)([*argv, "--help-all"])
    return set(re.findall(rf"{FLAG}(?![\w.-])", shown.getvalue()))


def test_every_flag_that_a_page_names_exists():
    known = OTHERS | flags_of("etm_jax.train")
    for flag, names in (("--model", MODELS), ("--selection", SELECTORS), ("--archive", ARCHIVES)):
        for name in names:
            known |= flags_of("etm_jax.evolve", flag, name)
    unknown = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(rf"`({FLAG})[ `]", text)  # in prose; commands are read whole
        unknown += [(page.name, flag) for flag in named if flag not in known]
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in PAGES if "```toml" in page.read_text(encoding="utf-8")])
def test_a_settings_file_is_taken(page):
    default = TrainConfig() if page.stem == "train" else PRESETS["default"]
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        assert replaced(default, tomllib.loads(block)) != default
