"""The results as Markdown and charts. Every word about a claim comes from the intervals."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.ablations.scores import scores
from benchmarks.ablations.settings import BASE, PACKS, PLAIN, SUBJECTS, TOLD
from benchmarks.ablations.verdicts import CLAIMS, Estimate, Part, Score, estimate, paired, verdict
from benchmarks.seen import mean
from maquette.evaluation.judges import NAMES, JudgeName
from maquette.report.charts import Series, line_chart
from maquette.report.intervals import Bar, interval_chart
from maquette.runs.files import write_text

TITLES: dict[Score, str] = {
    "balance": "balance",
    "like": "likeness",
    "prompt": "prompt fidelity",
    "class": "likeness of the class",
    "detail": "fine detail",
}
PAIRS = [(each.name, PLAIN) for each in SUBJECTS if each.name != PLAIN] + [("dora-4", "rank-4"), ("rank-64", "rank-4")]
STYLE = (
    "<style>text{font:12px sans-serif;fill:#222}.rule{stroke:#ddd}.line{stroke:#08306b;fill:none;stroke-width:1.5}"
    ".line-2{stroke:#b35806;stroke-dasharray:6 3}circle.line{fill:#08306b}.band{fill:#08306b;opacity:.12}"
    '.interval{stroke:#08306b}</style><rect width="100%" height="100%" fill="white"/>'
)


def write(rows: Sequence[dict], steps: int, planned: int, file: Path) -> None:
    """Write the page, and its charts into the folder images beside it."""
    images = file.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    charts = {
        "ablations-subjects": subjects_chart(rows, steps),
        "ablations-packs": packs_chart(rows, steps),
    }
    for name, chart in charts.items():
        if chart:
            write_text(images / f"{name}.svg", re.sub(r"(<svg[^>]*>)", rf"\1{STYLE}", chart, count=1) + "\n")
    drawn = [f"![{name}](images/{name}.svg)" for name, chart in charts.items() if chart]
    write_text(file, "\n".join([*page(rows, steps, planned), *drawn, ""]))


def page(rows: Sequence[dict], steps: int, planned: int) -> list[str]:
    """The lines of the page."""
    done = [row for row in rows if row["steps"] == steps]
    numbers = {about: len({row["number"] for row in done if row["about"] == about}) for about in ("subject", "style")}
    seeds = len({row["seed"] for row in done})
    return [
        "<!-- Written by `python -m benchmarks.ablations --out FOLDER --table docs/ablations.md`. -->",
        "",
        "# Ablations",
        "",
        f"{len(done)} results of {planned}: {numbers['subject']} held-out subjects and {numbers['style']} held-out",
        f"styles of the embedded world, {seeds} seeds, {steps} steps of four pictures for each thing that is learned.",
        "Judge and verifier, which were trained apart, score pictures of prompts that were not trained on (judge /",
        "verifier). Intervals hold 95 % of bootstrap draws over subjects or styles; differences are of runs on the",
        "same one with the same seed. Balance: the geometric mean of likeness and prompt fidelity on the scale of",
        "[evaluation.md](evaluation.md). Likeness of the class: how like the subject other members of its class have",
        "become. Fine detail: the mean distance of a pixel's brightness from its surroundings', in hundredths.",
        "",
        "## What the references say",
        "",
        *claims_table(rows, steps),
        "",
        "## Subjects",
        "",
        *settings_table(
            rows, steps, [each.name for each in SUBJECTS], ("like", "prompt", "balance", "class", "detail")
        ),
        "",
        "Differences:",
        "",
        *differences_table(rows, steps),
        "",
        "## Packs of styles",
        "",
        "All packs learn the same styles, each at its own rank and for as many steps. A style is called by two new",
        "tokens, which start as the name of one that the base knows; likeness is to unseen pictures of the style.",
        "",
        *settings_table(rows, steps, [f"pack-{n}" for n in PACKS], ("like", "prompt", "balance", "detail")),
        "",
    ]


def claims_table(rows: Sequence[dict], steps: int) -> Iterator[str]:
    """A line for each claim: seen, not seen, or within noise."""
    yield "| claim | source | here | difference (judge; verifier) |"
    yield "|---|---|---|---|"
    for claim in CLAIMS:
        found = [
            (part, difference(rows, part, judge, steps)) for part in claim.parts for judge in judges_of(part.score)
        ]
        word = verdict([(part.direction, each) for part, each in found])
        parts = [
            f"{TITLES[part.score]}, {part.setting} less {part.against}: "
            + "; ".join(told(each, part.score) for other, each in found if other is part)
            for part in claim.parts
        ]
        yield f"| {claim.said} | {claim.source} | **{word}** | {'. '.join(parts)} |"


def settings_table(rows: Sequence[dict], steps: int, names: Sequence[str], columns: Sequence[Score]) -> Iterator[str]:
    """A line for each setting that has been measured."""
    yield f"| setting | | {' | '.join(TITLES[each] for each in columns)} | processor s |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    for name in names:
        own = [row for row in rows if row["setting"] == name and row["steps"] == steps]
        if not own:
            continue
        cells = [
            " / ".join(
                told(estimate(scores(own + bases(rows), score, judge, steps).get(name, {})), score)
                for judge in judges_of(score)
            )
            for score in columns
        ]
        yield f"| {name} | {TOLD[name]} | {' | '.join(cells)} | {mean([row['seconds'] for row in own]):.0f} |"


def differences_table(rows: Sequence[dict], steps: int) -> Iterator[str]:
    """A line for each pair of settings."""
    columns: tuple[Score, ...] = ("like", "prompt", "balance", "class", "detail")
    yield f"| | {' | '.join(TITLES[each] for each in columns)} |"
    yield "|---|" + "---|" * len(columns)
    for one, other in PAIRS:
        found = [
            [difference(rows, Part(score, one, other, 1), judge, steps) for judge in judges_of(score)]
            for score in columns
        ]
        if any(each is not None for cell in found for each in cell):
            cells = [" / ".join(told(each, score) for each in cell) for score, cell in zip(columns, found, strict=True)]
            yield f"| {one} less {other} | {' | '.join(cells)} |"


def difference(rows: Sequence[dict], part: Part, judge: JudgeName, steps: int) -> Estimate | None:
    """The paired difference of a part by one judge."""
    found = scores(rows, part.score, judge, steps)
    return estimate(paired(found.get(part.setting, {}), found.get(part.against, {})))


def judges_of(score: Score) -> tuple[JudgeName, ...]:
    """Who tells a score: either judge, or nobody in particular."""
    return NAMES[:1] if score == "detail" else NAMES


def bases(rows: Sequence[dict]) -> list[dict]:
    """The rows of the base."""
    return [row for row in rows if row["setting"] == BASE]


def told(each: Estimate | None, score: Score) -> str:
    """An estimate in a cell, in thousandths: many differences are smaller than hundredths."""
    if each is None:
        return "-"
    times = 100 if score == "detail" else 1
    value, low, high = (f"{times * number:.3f}" for number in (each.value, each.low, each.high))
    return f"{value} ({low} to {high})"


def subjects_chart(rows: Sequence[dict], steps: int) -> str:
    """The balance of every setting by the verifier, plain LoRA first."""
    found = scores(rows, "balance", "verifier", steps)
    estimates = {each.name: estimate(found.get(each.name, {})) for each in SUBJECTS}
    bars = [Bar(n, e.value, e.low, e.high) if e else Bar(n, math.nan, math.nan, math.nan) for n, e in estimates.items()]
    return interval_chart("Balance by the verifier", bars, 640)


def packs_chart(rows: Sequence[dict], steps: int) -> str:
    """Likeness and prompt fidelity by the size of the pack."""
    series = []
    for score in ("like", "prompt"):
        found = scores(rows, score, "verifier", steps)
        there = [(n, e) for n in PACKS if (e := estimate(found.get(f"pack-{n}", {}))) is not None]
        columns = [[getattr(e, key) for _, e in there] for key in ("value", "low", "high")]
        series.append(Series(TITLES[score], [n for n, _ in there], columns[0], "marks", columns[1], columns[2]))
    return line_chart("By the verifier", series, x_end=PACKS[-1], size=(280, 640), x_name="styles in a pack")
