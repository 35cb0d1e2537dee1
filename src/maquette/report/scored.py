"""The words for scores that pages, cards and terminals share."""

import math
from collections.abc import Mapping

from maquette.report.charts import short
from maquette.runs.scores import Difference, Evaluation, Measured, Scores

MEANINGS: Mapping[str, str] = {
    "subject_fidelity": "How near the pictures are to the real ones of the subject.",
    "prompt_fidelity": "How well the pictures show what the prompt says.",
    "image_similarity": "How much of what the real pictures show is in these.",
    "style_similarity": "How near the pictures are to the real ones in style.",
    "retrieval_1": "Share of pictures whose own prompt is the nearest of all.",
    "retrieval_5": "Share of pictures whose own prompt is among the five nearest.",
    "perceptual_distance": "How different the pictures look from the real ones.",
    "diversity": "How different the pictures of one prompt are from each other.",
    "preservation": "How much other members of the class look like the subject; they should not.",
    "drift": "How far pictures of other things have moved from the base's.",
    "face_similarity": "How near the faces are to the real one; pictures without a face do not count.",
    "face_distance": "Distance of the faces from the real one; pictures without a face do not count.",
    "face_prompt_score": "100 times the prompt fidelity of pictures with a face.",
    "faceless": "How many pictures have no face.",
    "colour": "How alike the colours are to those of the real pictures.",
    "colour_official": "The same, counted as the contest's scorer does.",
    "frechet": "Distance of the pictures' distribution from the real ones'.",
    "frechet_64": "Distance of the distributions in 64 early features.",
    "frechet_instance": "Distance of the distributions in the instance network's features.",
    "kernel": "Distance of the distributions by kernels, unbiased for few pictures.",
    "quality": "How good a picture it is, whatever it shows.",
}
"""What a metric asks, in a sentence; a metric that is not here goes by its name."""


def metric_name(name: str) -> str:
    """A metric's name as people read it."""
    return name.replace("_", " ")


def value_of(score: Measured) -> str:
    """The number of a score."""
    return _shown(score.value) if score.is_score else "no score"


def interval_of(score: Measured) -> str:
    """The interval of a score; "" where there is none."""
    return f"{_shown(score.low)} to {_shown(score.high)}" if score.is_score and math.isfinite(score.low) else ""


def total_of(value: float) -> str:
    """A total or a part of it in four digits, as contests publish them; one that lacks a component is none."""
    return f"{value:.4f}" if math.isfinite(value) else "no score"


def verdicts(scores: Scores, evaluation: Evaluation) -> dict[str, Difference]:
    """What an evaluation's differences from the first are, by metric."""
    return {each.metric: each for each in scores.differences if each.name == evaluation.name}


def in_words(scores: Scores) -> list[str]:
    """A sentence for each thing that is compared with the first: where it is better, worse, or equal within noise."""
    told = []
    for evaluation in scores.evaluations[1:]:
        found = verdicts(scores, evaluation)
        parts = []
        for verdict, phrase in (("better", "better in"), ("worse", "worse in")):
            named = [
                f"{metric_name(each.metric)} ({_amount(each)})" for each in found.values() if each.verdict == verdict
            ]
            parts += [f"{phrase} {', '.join(named)}"] if named else []
        for verdict, phrase in (("equal within noise", "equal within noise in"), ("no score", "without a score in")):
            named = [metric_name(each.metric) for each in found.values() if each.verdict == verdict]
            parts += [f"{phrase} {', '.join(named)}"] if named else []
        told.append(f"{evaluation.name} against {scores.evaluations[0].name}: {'; '.join(parts)}.")
    return told


def _amount(difference: Difference) -> str:
    return f"{difference.value:+.3g}, {_shown(difference.low)} to {_shown(difference.high)}"


def _shown(value: float) -> str:
    """A score in three digits; what is only the rounding of a computation is 0."""
    return short(round(value, 6) + 0.0)
