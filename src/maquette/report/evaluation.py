"""Scores -> evaluation.html: tables, intervals, and the pictures side by side, each with its own scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from maquette.report.charts import Series, line_chart, short
from maquette.report.curves import HALF, NARROW, WIDE, Chart
from maquette.report.grid import LONGEST, ROWS, chosen
from maquette.report.html import render_page
from maquette.report.intervals import Bar, interval_chart
from maquette.report.pictures import Embedded, embed
from maquette.report.scored import MEANINGS, in_words, interval_of, metric_name, total_of, value_of, verdicts
from maquette.report.words import count_of
from maquette.runs.files import write_text
from maquette.runs.scores import Evaluation, Scores, Shot

PAGE = "evaluation.html"


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of the grid with what is told of it; None where it cannot be read."""

    picture: Embedded | None
    name: str
    prompt: str
    where: str
    scores: str


@dataclass(frozen=True, slots=True)
class Row:
    """The pictures of one line of the grid."""

    prompt: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The embedded part of all pictures. of: how many lines there are."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    of: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One score as it is shown; interval and verdict are "" where there are none."""

    value: str
    interval: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Line:
    """One metric: its name, what it asks, and the score of each evaluation."""

    name: str
    about: str
    cells: tuple[Told, ...]


def write_page(folder: Path, scores: Scores) -> Path:
    """Write the page of some scores into the folder that their files are named from; returns its path."""
    path = folder / PAGE
    write_text(path, render(scores, folder))
    return path


def render(scores: Scores, folder: Path) -> str:
    """The page of one evaluation, a comparison, or a sweep over strengths."""
    names = [each.name for each in scores.evaluations]
    grid = side_by_side(scores.evaluations, folder) if len(names) > 1 else by_seed(scores.evaluations[0], folder)
    if scores.strength is not None:
        charts = [_strength_chart(scores, scores.strength.likeness)]
    else:
        charts = _interval_charts(scores) if len(names) > 1 else []
    return render_page(
        "evaluation.html",
        scores=scores,
        title=scores.title or (" and ".join(names) if len(names) < 3 else ", ".join(names)),
        numbers=_numbers(scores),
        metrics=[score.name for score in scores.evaluations[0].scores],
        board=[_line(scores, metric.name) for metric in scores.evaluations[0].scores],
        concepts=concept_rows(scores.evaluations),
        charts=charts,
        words=in_words(scores),
        grid=grid,
        metric_name=metric_name,
        total_of=total_of,
        short=short,
    )


def side_by_side(evaluations: Sequence[Evaluation], folder: Path) -> Grid:
    """Rows of one prompt and seed, a column for each evaluation."""
    keys = list(dict.fromkeys(_key(shot) for each in evaluations for shot in each.shots))
    found = [{_key(shot): shot for shot in each.shots} for each in evaluations]
    lines = {
        (f"{concept}: {text}" if _several(keys) else text, seed): (concept, text, seed) for concept, text, seed in keys
    }
    unreadable: list[str] = []
    rows = []
    for words, seed in chosen(list(lines), ROWS):
        shots = [shots.get(lines[words, seed]) for shots in found]
        cells = [_cell(shot, each.name, folder, unreadable) for shot, each in zip(shots, evaluations, strict=True)]
        rows.append(Row(words, tuple(cells)))
    return Grid(tuple(each.name for each in evaluations), tuple(rows), len(keys), tuple(unreadable))


def by_seed(evaluation: Evaluation, folder: Path) -> Grid:
    """Rows of one prompt, a column for each seed."""
    lines: dict[tuple[str, str], dict[int, Shot]] = {}
    for shot in evaluation.shots:
        lines.setdefault((shot.concept, shot.prompt), {})[shot.seed] = shot
    seeds = sorted({shot.seed for shot in evaluation.shots})[:8]
    unreadable: list[str] = []
    rows = [
        Row(prompt, tuple(_cell(shots.get(seed), f"seed {seed}", folder, unreadable) for seed in seeds))
        for (_, prompt), shots in list(lines.items())[:ROWS]
    ]
    return Grid(tuple(f"seed {seed}" for seed in seeds), tuple(rows), len(lines), tuple(unreadable))


def concept_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, str, Mapping[str, float]]]:
    """(evaluation, concept, values by metric), where there are several concepts."""
    rows = []
    for each in evaluations:
        names = dict.fromkeys(name for score in each.scores for name in score.concepts)
        rows += [
            (each.name, name, {s.name: s.concepts[name] for s in each.scores if name in s.concepts}) for name in names
        ]
    return rows


def _line(scores: Scores, metric: str) -> Line:
    found = [each.score(metric) for each in scores.evaluations]
    first = scores.known(metric)
    about = MEANINGS.get(metric, "")
    if first.better is not None:
        about += f" {first.better.capitalize()} is better. By {first.network}, on {count_of(first.n, 'picture')}."
    told = [verdicts(scores, each).get(metric) for each in scores.evaluations]
    cells = [
        Told(value_of(score), interval_of(score), each.verdict if each is not None and score.is_score else "")
        for score, each in zip(found, told, strict=True)
    ]
    return Line(metric_name(metric), about.strip(), tuple(cells))


def _numbers(scores: Scores) -> dict[str, str]:
    first = scores.evaluations[0]
    texts = {shot.text for shot in first.shots}
    return {
        "Pictures": f"{sum(len(each.shots) for each in scores.evaluations):,}",
        "Prompts": f"{len(texts):,}",
        "Seeds": f"{len({shot.seed for shot in first.shots}):,}",
        "Scored by": ", ".join(scores.networks),
    }


def _cell(shot: Shot | None, name: str, folder: Path, unreadable: list[str]) -> Cell:
    if shot is None:
        return Cell(None, name, "", "", "")
    told = [
        f"{metric_name(metric)} {short(value) if math.isfinite(value) else '–'}"
        for metric, value in shot.scores.items()
    ]
    where = name if name.startswith("seed") else f"{name} · seed {shot.seed}"
    try:
        with Image.open(folder / shot.file) as image:
            picture = embed(image, LONGEST)
    except (OSError, SyntaxError):  # what Pillow raises for a file that is gone, cut short or no picture
        unreadable.append(Path(shot.file).name)
        picture = None
    return Cell(picture, name, shot.prompt, where, "\n".join(told))


def _interval_charts(scores: Scores) -> list[Chart]:
    charts = []
    for metric in scores.evaluations[0].scores:
        found = [(each.name, each.score(metric.name)) for each in scores.evaluations]
        bars = [Bar(name, *(round(end, 6) + 0.0 for end in (s.value, s.low, s.high))) for name, s in found]
        title = metric_name(metric.name).capitalize()
        large, small = (interval_chart(title, bars, size[1]) for size in (HALF, NARROW))
        better = scores.known(metric.name).better
        if large and better is not None:
            charts.append(Chart(title, large, small, f"{better.capitalize()} is better."))
    return charts


def _strength_chart(scores: Scores, likeness: str) -> Chart:
    ordered = sorted(scores.evaluations, key=lambda each: each.strength or 0.0)
    strengths = [each.strength or 0.0 for each in ordered]
    lines = [
        Series(metric_name(metric), strengths, [each.score(metric).value for each in ordered], "marks")
        for metric in (likeness, "prompt_fidelity")
    ]
    large, small = (
        line_chart("Fidelity over strength", lines, x_end=strengths[-1], size=size, x_name="strength")
        for size in (WIDE, NARROW)
    )
    return Chart("Fidelity over strength", large, small, "", is_wide=True)


def _several(keys: Sequence[tuple[str, str, int]]) -> bool:
    return len({concept for concept, _, _ in keys}) > 1


def _key(shot: Shot) -> tuple[str, str, int]:
    return shot.concept, shot.text, shot.seed
