"""The networks that metrics read pictures with: one for each role, each with the name to print its numbers under.

Axes: n pictures, c channels, h w size, d features.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.judge import Judge
from maquette.evaluation.judges import WEIGHTS, JudgeName, load_judge
from maquette.evaluation.metric import Features, Pictures

Texts = Callable[[Sequence[str]], Float[Tensor, "n d"]]
"""One unit vector for each text, in the space of the role ``image``."""

Faces = Callable[[Pictures], Sequence[Tensor | None]]
"""For each picture the unit vector (d,) of its largest face, or None where there is no face."""

Distance = Callable[[Pictures, Pictures], Float[Tensor, " n"]]
"""How different each picture of the first looks from its partner in the second; 0 for the same picture."""

Stacked = Callable[[UInt8[Tensor, "n 3 h w"]], Float[Tensor, "n d"]]
"""Features of pictures of one size."""

F = TypeVar("F", covariant=True)


@dataclass(frozen=True, slots=True)
class Named(Generic[F]):
    """A network's function, and whose it is.

    name: what its numbers are printed under, such as "DINO ViT-S/16"; the embedded judge goes by its own name and never
    by that of the network it stands in for. fingerprint: changes with the weights, the preparation of pictures and the
    precision, so that features can be kept by it.
    """

    name: str
    fingerprint: str
    call: F


@dataclass(frozen=True, slots=True)
class Networks:
    """One function for each thing that metrics look at. Results are fp32 on the CPU, wherever the network runs.

    instance: which very object a picture shows; unit vectors. image: what it shows, and text: what a sentence says, in
    one space; unit vectors. style: how a picture is made; unit vectors. face: whose face it shows. perceptual: how
    different two pictures look. distribution: features for Fréchet and kernel distances, of any scale;
    distribution_64: the same of an earlier layer where the network is FID's, which the contest's score reads.
    """

    instance: Named[Features]
    image: Named[Features]
    text: Named[Texts]
    style: Named[Features]
    face: Named[Faces]
    perceptual: Named[Distance]
    distribution: Named[Features]
    distribution_64: Named[Features]


def judge_networks(name: JudgeName = "judge", device: str | torch.device = "cpu") -> Networks:
    """The embedded judge in every role, for pictures of the embedded world; needs no network and no files.

    Pictures may differ in size; each is judged by its middle square. Where it reads no person, there is no face.
    Raises ConfigError for a judge that does not come with this package.
    """
    judge = load_judge(name, device)
    digest = hashlib.sha256((WEIGHTS / name / "judge.safetensors").read_bytes()).hexdigest()

    def named(role: str, call: F) -> Named[F]:
        return Named(name, f"{digest[:32]}-{role}", call)

    image = named("image", lambda pictures: by_size(judge.image_features, pictures))
    return Networks(
        instance=named("instance", lambda pictures: by_size(judge.instance_features, pictures)),
        image=image,
        text=named("text", lambda texts: judge.text_features(texts).cpu()),
        style=named("style", lambda pictures: by_size(judge.style_features, pictures)),
        face=named("face", lambda pictures: _people(judge, pictures)),
        perceptual=named("perceptual", lambda ones, others: _distance(judge, ones, others)),
        distribution=image,
        distribution_64=image,
    )


def by_size(features: Stacked, pictures: Pictures) -> Float[Tensor, "n d"]:
    """The features of pictures of any sizes from a function that takes stacks of one size; on the CPU.

    Raises DataError where there is no picture.
    """
    if not pictures:
        raise DataError("There are no pictures to look at; give at least one.")
    groups: dict[torch.Size, list[int]] = {}
    for i, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(i)
    rows = torch.cat([features(torch.stack([pictures[i] for i in group])).cpu() for group in groups.values()])
    order = torch.tensor([i for group in groups.values() for i in group])
    return rows[order.argsort()]


def _people(judge: Judge, pictures: Pictures) -> list[Tensor | None]:
    kinds = judge.attributes["kind"]
    person = torch.tensor([kinds.index("person")])
    seen = by_size(lambda stack: judge.read(stack).probabilities["kind"].argmax(1, keepdim=True), pictures)
    vectors = by_size(judge.face_features, pictures)
    return [vector if kind == person else None for kind, vector in zip(seen, vectors, strict=True)]


def _distance(judge: Judge, ones: Pictures, others: Pictures) -> Float[Tensor, " n"]:
    check_pairs(ones, others)
    unique = {id(picture): picture for picture in (*ones, *others)}  # a reference is paired with many pictures
    place = {key: row for row, key in enumerate(unique)}
    looks = by_size(judge.look_features, list(unique.values()))
    left, right = (looks[[place[id(picture)] for picture in side]] for side in (ones, others))
    return 1 - (left * right).sum(1)


def check_pairs(ones: Pictures, others: Pictures) -> None:
    """Raise DataError where two lists of pictures do not pair up."""
    if len(ones) != len(others):
        raise DataError(f"{len(ones)} pictures cannot be paired with {len(others)}: each needs one partner.")
