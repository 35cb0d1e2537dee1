"""What an evaluation leaves on disk: the scores of one or several things on one suite, as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from maquette.errors import DataError
from maquette.runs.files import write_text

FILE = "scores.json"
FORMAT = 1

Value = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number, or nan for no score (no face in any picture): written as null, so that nobody takes it for 0."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one thing.

    low, high: 95 % interval. better: None where there is no score, since a metric tells it with its value. n: pictures
    that count. network: what computed the features, "" where there is no score. concepts: the value of each concept
    alone, where there are several.
    """

    name: str
    value: Value
    low: Value
    high: Value
    better: Literal["higher", "lower"] | None
    n: int
    network: str
    warnings: tuple[str, ...] = ()
    concepts: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_score(self) -> bool:
        """Whether there is a number at all; without one a thing is never the best."""
        return math.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the subject: how it was asked for, and what it scored.

    file: relative to the scores. text: the suite's own words, by which pictures of different things are paired. prompt:
    as it was generated. scored: as text networks read it.
    """

    file: str
    text: str
    prompt: str
    scored: str
    seed: int
    concept: str
    scores: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One thing on one suite. strength: of its adapter, where that is what differs. totals: what the contest's
    formula makes of the scores, by name, where the suite has it."""

    name: str
    scores: tuple[Measured, ...]
    shots: tuple[Shot, ...]
    strength: float | None = None
    totals: Mapping[str, Value] = field(default_factory=dict)

    def score(self, metric: str) -> Measured:
        """The score of this name."""
        return next(score for score in self.scores if score.name == metric)


@dataclass(frozen=True, slots=True)
class Difference:
    """How one thing differs from another in one metric, with a 95 % interval and what that means.

    is_paired: by pictures of the same prompt and seed; otherwise the two intervals alone are compared.
    """

    name: str
    other: str
    metric: str
    value: Value
    low: Value
    high: Value
    verdict: Literal["better", "worse", "equal within noise", "no score"]
    is_paired: bool


@dataclass(frozen=True, slots=True)
class StrengthRange:
    """The strengths of an adapter that are recommended, and the rule in words.

    is_met: some strength met the rule. likeness: the metric that told how much of what was learned is there.
    """

    low: float
    high: float
    words: str
    is_met: bool
    likeness: str = "subject_fidelity"


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that one command found. The first evaluation is what the others are compared with.

    title: of what, where the evaluations are one thing in several states, at several strengths or steps.
    """

    suite: str
    about: str
    networks: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[Difference, ...] = ()
    strength: StrengthRange | None = None
    warnings: tuple[str, ...] = ()
    title: str = ""
    format: int = FORMAT

    def known(self, metric: str) -> Measured:
        """The first score of this name that is a number, for what is said of the metric; without one, the first."""
        found = [each.score(metric) for each in self.evaluations]
        return next((score for score in found if score.is_score), found[0])


_SCORES: TypeAdapter[Scores] = TypeAdapter(Scores)


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores as JSON, atomically."""
    write_text(
        path, json.dumps(_finite(_SCORES.dump_python(scores, mode="python")), indent=1, ensure_ascii=False) + "\n"
    )


def read_scores(path: Path) -> Scores:
    """Scores that were written before. Raises DataError where the file is gone, damaged, or of another version."""
    try:
        scores = _SCORES.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise DataError(f"{path}: cannot be read as scores ({said}). Evaluate again to write it anew.") from error
    if scores.format != FORMAT:
        raise DataError(f"{path}: format {scores.format}, but this version reads {FORMAT}. Evaluate again.")
    return scores


def _finite(value: object) -> object:
    """JSON knows no nan: null says that there is no number."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case _:
            return value
