"""What is scored, and what a score says.

Axes: n pictures, c channels, h w size, d features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor

Picture = UInt8[Tensor, "3 h w"]
Pictures = Sequence[Picture]
"""RGB pictures, each of its own size."""

Features = Callable[[Pictures], Float[Tensor, "n d"]]
"""One row for each picture; whether rows are unit vectors is said where a function of this type is made."""


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Generated pictures with the prompt and the concept of each, and the real pictures of each concept.

    prompts: as a text network should read them, with the class noun in the place of the trigger. candidates: further
    prompts among which a picture has to find its own. class_images: generated pictures of other members of each
    concept's class. neutral, neutral_base: pictures of prompts that name no concept, with the adapter and without it,
    at the same prompts and seeds in the same order. What is left out is asked for by the metrics that need it.
    """

    generated: Pictures
    prompts: Sequence[str]
    concepts: Sequence[str]
    references: Mapping[str, Pictures]
    candidates: Sequence[str] = ()
    class_images: Mapping[str, Pictures] = field(default_factory=dict)
    neutral: Pictures = ()
    neutral_base: Pictures = ()


@dataclass(frozen=True, slots=True)
class Score:
    """One number about a set of pictures.

    low, high: a 95 % bootstrap interval over the pictures. better: which way is good. n: how many pictures count.
    network: what computed the features, such as "DINO ViT-S/16" or "judge". per_image: the value of each generated
    picture, None where it has none (a faceless picture); unset where the score belongs to the set alone. warnings: what
    a reader of the number must know, such as too few pictures for its width of features; to be shown beside it.
    """

    name: str
    value: float
    low: float
    high: float
    better: Literal["higher", "lower"]
    n: int
    network: str
    per_image: tuple[float | None, ...] | None = None
    warnings: tuple[str, ...] = ()


Metric = Callable[[EvalSet], Score]
