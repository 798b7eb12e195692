"""The rows: a task of the prior work, what it reported, our settings and what the network is examined on."""

from dataclasses import dataclass, field
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Prior:
    """What the prior work reported, on one CUDA GPU.

    Attributes:
        network: its configuration.
        parameters: how many; None where nothing was reported.
        minutes: as its author gives them.
        accuracy: in the row's measure; None where nothing was reported.
    """

    network: str
    parameters: int | None = None
    minutes: str = "not given"
    accuracy: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table. Our settings are `configs/CONFIG.toml`, which `python -m etm_jax.train --config` takes.

    Attributes:
        prior: what is compared with.
        config: name of the file with our settings.
        measure: the score that is compared, on the first exam: `accuracy` is the share of sequences right in every
            step, other names are the task's `extra_scores`.
        exams: by name, tasks of fresh episodes, as the command line writes them.
    """

    prior: Prior
    config: str
    measure: str
    exams: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file of our settings."""
        return CONFIGS / f"{self.config}.toml"


def exactly(task: str, low: str, high: str, numbers: tuple[int, ...], options: str = "") -> dict[str, str]:
    """Exams of one length each."""
    return {str(number): f"{task}=1,{options}{low}={number},{high}={number}" for number in numbers}


NOTHING = Prior("none reported")
SUM = {"1 to 20 digits": "add_numbers=1"} | exactly("add_numbers", "min_digits", "max_digits", (20, 30, 40))
COPY = exactly("copy", "min_length", "max_length", (20, 40, 80, 120))
REVERSE = exactly("reverse_copy", "min_length", "max_length", (20, 40, 80, 120))

ROWS = {
    "parity": Row(
        Prior("ACT, RNN 2000", 4_138_002, "3.11", 0.955),
        "parity",
        "accuracy",
        {"1 to 64 bits": "parity=1"} | exactly("parity", "min_nonzero", "bits", (64,)),
    ),
    "logic": Row(
        Prior("ACT, LSTM 300", 486_602, "174.2", 0.960),
        "logic",
        "accuracy",
        {"1 to 10 steps": "logic=1"} | exactly("logic", "min_length", "max_length", (10, 20)),
    ),
    "addition": Row(
        Prior("ACT, LSTM 1024", 4_480_067, accuracy=0.94375),
        "addition",
        "accuracy",
        {"2 to 5 numbers": "addition=1"} | exactly("addition", "min_length", "max_length", (5, 10)),
    ),
    "vocab_copy": Row(
        Prior("NTM 20x97, RNN", 344_422, "13.79", 0.9906),
        "vocab_copy",
        "symbol_accuracy",
        {"1 to 20": "vocab_copy=1"} | exactly("vocab_copy", "min_length", "max_length", (20, 40)),
    ),
    "vocab_repeat_copy": Row(
        Prior("NTM 128x99, RNN", 358_450, accuracy=0.9836),
        "vocab_repeat_copy",
        "symbol_accuracy",
        {"1 to 10, 1 to 10 times": "vocab_repeat_copy=1"}
        | {"20 symbols": "vocab_repeat_copy=1,min_length=20,max_length=20"},
    ),
    "vocab_copy_50": Row(
        Prior("window transformer E 104, 60x104", 262_818, "3.22", 1.0),
        "vocab_copy_50",
        "accuracy",
        {"50": "vocab_copy=1,symbols=100,min_length=50,max_length=50"}
        | {"100": "vocab_copy=1,symbols=100,min_length=100,max_length=100"},
    ),
    "add_numbers_64": Row(
        Prior("window transformer E 64, 128x64", 97_143, "46.55", 1.0), "add_numbers", "accuracy", SUM
    ),
    "add_numbers_104": Row(
        Prior("window transformer E 104, 128x104", 251_363, "24.08", 1.0), "add_numbers", "accuracy", SUM
    ),
    "add_numbers_200": Row(
        Prior("window transformer E 200, 128x200, 2 layers", 1_397_851, "20.88", 1.0), "add_numbers", "accuracy", SUM
    ),
    "copy": Row(NOTHING, "copy", "accuracy", COPY),
    "dnc_copy": Row(NOTHING, "dnc_copy", "accuracy", COPY),
    "reverse_copy": Row(NOTHING, "reverse_copy", "accuracy", REVERSE),
    "recall": Row(
        NOTHING,
        "recall",
        "accuracy",
        {"2 to 6 items": "recall=1"} | exactly("recall", "min_items", "max_items", (6, 12, 20)),
    ),
}
