"""What is scored, and what a score says.

Axes: n pictures, c channels, h w size, d features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    """Generated pictures with the prompt and the concept of each, and the real pictures of each concept."""

    generated: Pictures
    prompts: Sequence[str]
    concepts: Sequence[str]
    references: Mapping[str, Pictures]


@dataclass(frozen=True, slots=True)
class Score:
    """One number about a set of pictures.

    low, high: a 95 % bootstrap interval over the pictures. better: which way is good. n: how many pictures count.
    network: what computed the features, such as "DINO ViT-S/16" or "judge". per_image: the value of each generated
    picture, None where it has none (a faceless picture); unset where the score belongs to the set alone.
    """

    name: str
    value: float
    low: float
    high: float
    better: Literal["higher", "lower"]
    n: int
    network: str
    per_image: tuple[float | None, ...] | None = None


Metric = Callable[[EvalSet], Score]
