"""What is compared: ways to learn one subject of the embedded world, and packs of its styles."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

About = Literal["subject", "style"]

RECIPE: Final = "maquette64-subject-lora"
_LAYERS: Final = 'adapter.targets="attention+feed_forward+convolutions"'


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to learn: a recipe, and what is set otherwise.

    told: in words, for the table. token: what captions call the subject. has_class: whether class images are made.
    """

    name: str
    told: str
    recipe: str = RECIPE
    sets: tuple[str, ...] = ()
    token: str = "sks"
    has_class: bool = False


PLAIN: Final = "lora"
"""The setting that others are compared with: the recipe itself."""

BASE: Final = "base"
"""The base as it is, which marks the lower end of likeness and the upper end of prompt fidelity."""

SUBJECTS: Final = (
    Setting(PLAIN, "LoRA, rank 16, min-SNR 5"),
    Setting("uniform", "without min-SNR", sets=('loss.weighting.kind="uniform"',)),
    Setting("dora", "DoRA", sets=('adapter.kind="dora"', "adapter.rank=16", _LAYERS)),
    Setting("pivotal", "with two new tokens for half of it", "maquette64-subject-lora-pivotal", token="TOK"),
    Setting("plus", "LoRA+: 1e-4, up matrices 16 times that", "maquette64-subject-lora-plus"),
    Setting("adaptive", "S0's adaptive rate of up matrices", sets=('adapter.lr_ratio.kind="adaptive"',)),
    Setting("lora-ga", "LoRA-GA, rank 8 (a file of 16)", "maquette64-subject-lora-ga", ("adapter.init.batches=16",)),
    Setting("prodigy", "Prodigy at 1.0", sets=('optimizer.kind="prodigy"', "optimizer.lr=1.0")),
    Setting("class-images", "with 24 class images", sets=("class_images.count=24",), has_class=True),
    Setting("rank-4", "rank 4", sets=("adapter.rank=4",)),
    Setting("dora-4", "DoRA, rank 4", sets=('adapter.kind="dora"', "adapter.rank=4", _LAYERS)),
    Setting("rank-64", "rank 64", sets=("adapter.rank=64",)),
)

PACKS: Final = (1, 2, 4, 8)
"""How many styles one adapter learns; all together learn the same ones, each for as many steps and at the same rank."""

NUM_SUBJECTS: Final = 8
NUM_STYLES: Final = 8

TOLD: Final = {each.name: each.told for each in SUBJECTS} | {f"pack-{n}": f"styles in packs of {n}" for n in PACKS}


@dataclass(frozen=True, slots=True)
class Task:
    """One run, and what it learns: the numbers of subjects or styles. The base has no run."""

    setting: str
    about: About
    numbers: tuple[int, ...]
    seed: int
    steps: int


Line = tuple[str, str, int, int, int]
"""Which line of the results: setting, subject or style, its number, seed, steps."""


def lines_of(task: Task) -> list[Line]:
    """The lines that a task adds, one for each thing that it learns."""
    return [(task.setting, task.about, number, task.seed, task.steps) for number in task.numbers]


def line_of(row: dict) -> Line:
    """Which line a row of the results is."""
    return row["setting"], row["about"], row["number"], row["seed"], row["steps"]


def tasks(settings: list[str], subjects: int, styles: int, seeds: int, steps: int) -> Iterator[Task]:
    """Every run, the base first, then seed by seed, so that what is there at any time is balanced."""
    abouts: list[tuple[About, int]] = [("subject", subjects), ("style", styles)]
    for about, count in abouts:
        for number in range(count):
            yield Task(BASE, about, (number,), 0, 0)
    for seed in range(seeds):
        for number in range(subjects):
            for setting in SUBJECTS:
                if setting.name in settings:
                    yield Task(setting.name, "subject", (number,), seed, steps)
        for size in PACKS:
            if f"pack-{size}" in settings and size <= styles:
                for first in range(0, styles - size + 1, size):
                    yield Task(f"pack-{size}", "style", tuple(range(first, first + size)), seed, steps)


def missing(task: Task, rows: list[dict]) -> bool:
    """Whether any line of a task is not there yet."""
    return not {*lines_of(task)} <= {line_of(row) for row in rows}
