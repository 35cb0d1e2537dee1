"""The previews of a run as rows of one prompt and seed by columns of steps, the untouched base first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from maquette.report.facts import Preview
from maquette.report.pictures import Embedded, embed
from maquette.runs.names import NAMES

COLUMNS, ROWS = 12, 24
"""At most this many of each are embedded, so that the page stays a page; the sentence above the grid says so."""

LONGEST = 512
"""Pixels of the longer side of an embedded preview."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of the grid; None where there is no such file, or where it cannot be read. scores: one on a line."""

    step: int
    picture: Embedded | None
    scores: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The pictures of one prompt and seed, one for each column."""

    prompt: str
    seed: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The embedded part of all previews. all_steps, all_rows: how many there are in the folder."""

    steps: tuple[int, ...]
    rows: tuple[Row, ...]
    all_steps: int
    all_rows: int
    unreadable: tuple[str, ...]


def grid_of(previews: Sequence[Preview]) -> Grid:
    """Arrange and embed previews. The first and the last step are always among the columns."""
    by_scores = sorted(previews, key=lambda preview: bool(preview.scores))  # of two alike, the scored one stays
    found = {(preview.prompt, preview.seed, preview.step): preview for preview in by_scores}
    all_rows = rows_of(previews)
    all_steps = sorted({step for *_, step in found})
    steps = spread(all_steps, COLUMNS)
    unreadable: list[str] = []
    rows = tuple(
        Row(prompt, seed, tuple(_cell(step, found.get((prompt, seed, step)), unreadable) for step in steps))
        for prompt, seed in chosen(all_rows, ROWS)
    )
    return Grid(tuple(steps), rows, len(all_steps), len(all_rows), tuple(unreadable))


def rows_of(previews: Sequence[Preview]) -> list[tuple[str, int]]:
    """Every prompt, in the order in which they were first made, with each of its seeds."""
    seeds: dict[str, set[int]] = {}
    for preview in previews:
        seeds.setdefault(preview.prompt, set()).add(preview.seed)
    return [(prompt, seed) for prompt, those in seeds.items() for seed in sorted(those)]


def chosen(rows: Sequence[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """At most ``most`` rows, in their order: the first seed of every prompt before anybody's second."""
    seen: Counter[str] = Counter()
    turns = []
    for row in rows:
        turns.append((seen[row[0]], row))
        seen[row[0]] += 1
    kept = {row for _, row in sorted(turns, key=lambda turn: turn[0])[:most]}
    return [row for row in rows if row in kept]


def spread(values: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of some values, evenly spread by position, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def scores_in_words(scores: Mapping[str, float]) -> str:
    """The scores of a picture, one on a line."""
    return "\n".join(f"{name} {scores[name]:.2f}" for name in NAMES if name in scores)


def _cell(step: int, preview: Preview | None, unreadable: list[str]) -> Cell:
    if preview is None:
        return Cell(step, None)
    return Cell(step, _embedded(preview.file, unreadable), scores_in_words(preview.scores))


def _embedded(file: Path, unreadable: list[str]) -> Embedded | None:
    try:
        with Image.open(file) as image:
            return embed(image, LONGEST)
    except (OSError, SyntaxError):  # what Pillow raises for a file that is gone, cut short or no picture
        unreadable.append(f"{file.parent.name}/{file.name}")
        return None
