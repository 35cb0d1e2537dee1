"""The networks that metrics read pictures with: one for each role, each with the name to print its numbers under.

Axes: n pictures, c channels, h w size, d features.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.config.networks import NetworksConfig
from maquette.errors import DataError
from maquette.evaluation.batches import Place, distances
from maquette.evaluation.judge import Judge
from maquette.evaluation.judges import NAMES, WEIGHTS, JudgeName, load_judge
from maquette.evaluation.metric import Features, Pictures
from maquette.evaluation.sources import Source, find_source
from maquette.families.placement import choose_device, choose_dtype

if TYPE_CHECKING:
    from maquette.evaluation.clip import Clip
    from maquette.evaluation.pretrained import PictureNetwork

Texts = Callable[[Sequence[str]], Float[Tensor, "n d"]]
"""One unit vector for each text, in the space of the role ``image``."""

Faces = Callable[[Pictures], Sequence[Tensor | None]]
"""For each picture the unit vector (d,) of its largest face, or None where there is no face."""

Distance = Callable[[Pictures, Pictures], Float[Tensor, " n"]]
"""How different each picture of the first looks from its partner in the second; 0 for the same picture."""

Stacked = Callable[[UInt8[Tensor, "n 3 h w"]], Float[Tensor, "n d"]]
"""Features of pictures of one size."""

ROLES: Final = ("image", "instance", "style", "face", "perceptual", "distribution")
"""The roles that settings name a network for; text is read by the network of ``image``."""

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


def open_networks(config: NetworksConfig) -> Networks:
    """The networks that settings name, each from its folder, file or hub id; the judges where they name those.

    One that several roles name is loaded once, and nothing is loaded before all are found. Raises ModelError or
    ConfigError, with the cure, where one cannot be had; MissingDependencyError where a face network lacks its packages.
    """
    names = {role: getattr(config, role) for role in ROLES}
    place = _place(config)
    sources = {role: find_source(name, role) for role, name in names.items() if name not in NAMES}
    judges = {name: judge_networks(name, place.device) for name in NAMES if name in names.values()}

    @cache
    def clip(source: Source) -> "Clip":
        from maquette.evaluation.clip import open_clip  # transformers, which the judges do without

        return open_clip(source, place)

    @cache
    def network(source: Source) -> "PictureNetwork":
        from maquette.evaluation.dino import open_dino
        from maquette.evaluation.pretrained import kind_of

        return clip(source).pictures if kind_of(source) == "clip" else open_dino(source, place)

    def judged(role: str) -> Any:  # noqa: ANN401 - the type is that of the role
        return getattr(judges[names[role]], role)

    def directions(role: str) -> Named[Features]:
        if role not in sources:
            return judged(role)
        found = network(sources[role])
        return Named(found.name, f"{found.fingerprint}-direction", found.directions)

    distributions = _distributions(sources.get("distribution"), network, place)
    return Networks(
        instance=directions("instance"),
        image=_clip(clip(sources["image"])) if "image" in sources else judged("image"),
        text=_texts(clip(sources["image"])) if "image" in sources else judges[names["image"]].text,
        style=directions("style"),
        face=_face(sources["face"], config) if "face" in sources else judged("face"),
        perceptual=_perceptual(sources["perceptual"], place) if "perceptual" in sources else judged("perceptual"),
        distribution=distributions[2048] if distributions else judged("distribution"),
        distribution_64=distributions[64] if distributions else judged("distribution"),
    )


def check_networks(config: NetworksConfig) -> None:
    """Raise as ``open_networks`` does for networks that are not there, without reading or fetching any weights."""
    _place(config)
    for role in ROLES:
        if (name := getattr(config, role)) not in NAMES:
            find_source(name, role, weights=False)
    if config.face not in NAMES:
        from maquette.evaluation.face_network import require_packages

        require_packages()


def _place(config: NetworksConfig) -> Place:
    device = choose_device(config.device)
    return Place(device, choose_dtype(config.precision, device, 0))


def _clip(clip: "Clip") -> Named[Features]:
    return Named(clip.pictures.name, f"{clip.pictures.fingerprint}-direction", clip.pictures.directions)


def _texts(clip: "Clip") -> Named[Texts]:
    return Named(clip.pictures.name, f"{clip.pictures.fingerprint}-text", clip.directions_of_texts)


def _face(source: Source, config: NetworksConfig) -> Named[Faces]:
    from maquette.evaluation.face_network import open_face_network

    face = open_face_network(source, config.face_values, config.face_channels)
    return Named(face.name, face.fingerprint, face.faces)


def _perceptual(source: Source, place: Place) -> Named[Distance]:
    from maquette.evaluation.lpips import open_lpips

    lpips = open_lpips(source, place)
    return Named(lpips.name, lpips.fingerprint, lpips.distance)


def _distributions(
    source: Source | None, network: Callable[[Source], "PictureNetwork"], place: Place
) -> dict[int, Named[Features]]:
    """Features at FID's two widths; one and the same network where it is not FID's."""
    from maquette.evaluation.inception import open_inception

    if source is None:
        return {}
    if (source.path / "config.json").is_file():
        found = dict.fromkeys((64, 2048), network(source))
    else:
        found = open_inception(source, place)
    return {width: Named(one.name, one.fingerprint, one.features) for width, one in found.items()}


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
    # Of unit vectors: half the squared distance is one minus the product.
    return distances(lambda pictures: by_size(judge.look_features, pictures), ones, others) / 2
