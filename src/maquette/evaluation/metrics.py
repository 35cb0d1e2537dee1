"""Every metric by name. A new one is a function in a module of this package and a line here.

Names say what is measured and not who measured it, since the same metric is DINO's, CLIP's or the embedded judge's by
the networks that it is given: a score carries the name of its network beside its own.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import Final, Literal

from maquette.errors import ConfigError
from maquette.evaluation.colour import SPACES, colour
from maquette.evaluation.faces import face_distance, face_prompt_score, face_similarity, faceless
from maquette.evaluation.frechet import frechet, frechet_64, frechet_instance
from maquette.evaluation.kernel import kernel
from maquette.evaluation.metric import Metric
from maquette.evaluation.networks import Networks
from maquette.evaluation.perceptual import diversity, perceptual_distance
from maquette.evaluation.quality import quality
from maquette.evaluation.retrieval import retrieval
from maquette.evaluation.similarity import (
    drift,
    image_similarity,
    preservation,
    prompt_fidelity,
    style_similarity,
    subject_fidelity,
)

METRICS: Final[Mapping[str, Callable[[Networks], Metric]]] = MappingProxyType(
    {
        "subject_fidelity": subject_fidelity,
        "prompt_fidelity": prompt_fidelity,
        "image_similarity": image_similarity,
        "style_similarity": style_similarity,
        "retrieval_1": partial(retrieval, k=1),
        "retrieval_5": partial(retrieval, k=5),
        "perceptual_distance": perceptual_distance,
        "diversity": diversity,
        "preservation": preservation,
        "drift": drift,
        "frechet": frechet,
        "frechet_64": frechet_64,
        "frechet_instance": frechet_instance,
        "kernel": kernel,
        "quality": quality,
        "colour": lambda _: colour("fixed", SPACES, "colour"),
        "colour_rgb": lambda _: colour("fixed", ("rgb",), "colour_rgb"),
        "colour_hsv": lambda _: colour("fixed", ("hsv",), "colour_hsv"),
        "colour_official": lambda _: colour("official", SPACES, "colour_official"),
        "colour_rgb_official": lambda _: colour("official", ("rgb",), "colour_rgb_official"),
        "colour_hsv_official": lambda _: colour("official", ("hsv",), "colour_hsv_official"),
        "face_distance": face_distance,
        "face_similarity": face_similarity,
        "face_prompt_score": face_prompt_score,
        "faceless": faceless,
    }
)

Part = Literal["references", "class_images", "neutral"]
"""What a set may have to bring besides generated pictures, their prompts and their concepts."""

PARTS: Final[Mapping[str, frozenset[Part]]] = MappingProxyType(
    {
        "prompt_fidelity": frozenset(),
        "retrieval_1": frozenset(),
        "retrieval_5": frozenset(),
        "diversity": frozenset(),
        "quality": frozenset(),
        "face_prompt_score": frozenset(),
        "faceless": frozenset(),
        "drift": frozenset({"neutral"}),
        "preservation": frozenset({"references", "class_images"}),
    }
)
"""Of the metrics that do not need references alone, what they need."""

WITHIN_PROMPTS: Final = frozenset({"diversity"})
"""Metrics of pairs of pictures of a prompt: the values of its pictures are made of the same distances."""

POOLED: Final = frozenset({"retrieval_1", "retrieval_5", "faceless"})
"""Metrics in which every picture counts the same, of whichever concept it is."""

COUNTS: Final = frozenset({"faceless"})
"""Metrics whose value is the sum of the pictures' own values, not their mean."""


def metric_named(name: str) -> Callable[[Networks], Metric]:
    """The line of ``METRICS``. Raises ConfigError for another name, with all there are and the nearest."""
    if name not in METRICS:
        nearest = get_close_matches(name, METRICS, 1, 0.5)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f"metric {name!r} is unknown; use some of: {', '.join(METRICS)}.{hint}")
    return METRICS[name]


def parts_needed(names: Sequence[str]) -> frozenset[Part]:
    """What a set must bring for all of these metrics, to be known before anything is generated."""
    found: frozenset[Part] = frozenset()
    for name in names:
        metric_named(name)
        found |= PARTS.get(name, frozenset({"references"}))
    return found
