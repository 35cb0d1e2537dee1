"""The curves of a run, as charts that explain themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from maquette.report.charts import Series, finite, line_chart
from maquette.report.facts import Facts
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, LOSS, PROMPT

WIDE, HALF, NARROW = (300, 1040), (230, 500), (240, 350)
"""(height, width) of a chart over the whole page, over half of it, and on a telephone; text keeps its size in each."""

LINES = 4
"""So many lines a chart has colours for."""

_SCORES = {
    LOSS: (
        "Validation loss",
        "On held-out pictures at fixed noise, so that two steps can be compared. Where it rises, the run overfits.",
    ),
    **{name: (name.capitalize(), "How much pictures are like the training pictures.") for name in FIDELITY.values()},
    PROMPT: (
        "Prompt fidelity",
        "How well pictures show what their prompts ask for, the class in place of the subject.",
    ),
    DIVERSITY: ("Diversity", "How different pictures of one prompt are. Where it falls, they all become alike."),
    DRIFT: (
        "Drift from the base",
        "How far pictures of the class alone are from what the base made of the same prompts and seeds.",
    ),
}
"""Titles and notes of scores by the names that runs give them; any other score is drawn under its own name."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart, drawn once for large and once for small screens, and what to know when reading it."""

    title: str
    large: str
    small: str
    note: str
    is_wide: bool = False


def charts_of(facts: Facts) -> list[Chart]:
    """The charts for which the run has readings: the loss over the whole page, the others beside each other."""
    charts = [_loss(facts)] if facts.loss.x else []
    charts += [_score(each, facts) for each in facts.scores]
    if facts.rates:
        charts.append(_chart("Learning rate", *_rates(facts), facts))
    if facts.grad_norm.x:
        most = facts.config.training.max_grad_norm
        note = f"Before clipping to {most:g}." if most else "Not clipped."
        charts.append(_chart("Gradient norm", note, [facts.grad_norm], facts))
    return charts


def _score(series: Series, facts: Facts) -> Chart:
    title, note = _SCORES.get(series.name, (series.name, ""))
    if network := facts.networks.get(series.name):
        note += (
            f" Read by {network}; shaded: 95 % interval over {'prompts' if series.name == DIVERSITY else 'pictures'}."
        )
    return _chart(title, note.strip(), [series], facts)


def smoothed(series: Series, half_life: float) -> Series:
    """A running mean in which a reading counts half after ``half_life`` more, without the pull of a start at 0."""
    decay = 0.5 ** (1 / half_life)
    total, weight, values = 0.0, 0.0, []
    for value in series.y:
        total, weight = decay * total + value, decay * weight + 1
        values.append(total / weight)
    return Series("smoothed", series.x, values)


def half_life_of(readings: int) -> float:
    """A half-life in readings that leaves the trend of a run and takes its noise: a twentieth of it, 3 to 50."""
    return min(50, max(3, round(readings / 20)))


def last_loss(facts: Facts) -> float | None:
    """The smoothed loss at the end; None where there was no finite reading."""
    loss = finite(facts.loss)
    return smoothed(loss, half_life_of(len(loss.x))).y[-1] if loss.x else None


def merged(rates: Sequence[Series]) -> list[Series]:
    """Learning rates with those that are the same throughout drawn as one line with all their names."""
    alike: dict[tuple[float, ...], list[Series]] = {}
    for series in rates:
        alike.setdefault(tuple(series.y), []).append(series)
    return [Series(", ".join(s.name for s in group), group[0].x, group[0].y) for group in alike.values()]


def _rates(facts: Facts) -> tuple[str, list[Series]]:
    """The rates to draw, and a note where that is not all of them: more lines than colours tell nobody anything."""
    rates = merged(facts.rates)
    if len(rates) <= LINES:
        return "", rates
    ordered = sorted(rates, key=lambda series: max(series.y))
    return f"The slowest and the fastest of {len(rates)}; the table has them all.", [ordered[0], ordered[-1]]


def _loss(facts: Facts) -> Chart:
    raw = finite(facts.loss)
    half_life = half_life_of(len(raw.x))
    lines = [Series("each reading", raw.x, raw.y, "cloud"), smoothed(raw, half_life)]
    note = (
        "The loss of a diffusion model jumps, because every step draws other noise; the smoothed line "
        f"(half-life {half_life:g} readings) shows the trend, and the pictures show the rest."
    )
    lost = len(facts.loss.x) - len(raw.x)
    note += f" {lost} of {len(facts.loss.x)} readings were not finite and are left out." if lost else ""
    return _chart("Loss", note, lines, facts, is_wide=True)


def _chart(title: str, note: str, series: list[Series], facts: Facts, *, is_wide: bool = False) -> Chart:
    end = max(facts.steps, facts.steps_done)
    large = line_chart(f"{title} over the run", series, x_end=end, size=WIDE if is_wide else HALF)
    small = line_chart(f"{title} over the run", series, x_end=end, size=NARROW)
    return Chart(title, large, small, note, is_wide)
