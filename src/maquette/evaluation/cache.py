"""Networks that are asked once for each picture: what they answered is kept by content, in memory and on disk.

A picture is known by the hash of its bytes and shape, a network by its fingerprint, so an answer cannot be out of date.
In memory every answer stands alone; on disk there is one file for the answers to each question, which is what a second
run of the same suite asks again.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.data.cache import Cache, Entry, key_of
from maquette.evaluation.metric import Features, Picture, Pictures
from maquette.evaluation.networks import Distance, Faces, Named, Networks, Texts

Item = TypeVar("Item")
Row = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Answers in memory, and files of them. Networks with one fingerprint share them, in whatever role they are asked.

    files: by default there are none; its ``repaired`` names those that were damaged and have been computed again.
    """

    files: Cache = field(default_factory=lambda: Cache(ram_limit=0))
    rows: dict[str, Row] = field(default_factory=dict)


def remembering(networks: Networks, memory: Memory) -> Networks:
    """The same networks, under the same names, each asked once for each picture, text or pair of pictures."""
    return Networks(
        instance=_features(networks.instance, memory),
        image=_features(networks.image, memory),
        text=_texts(networks.text, memory),
        style=_features(networks.style, memory),
        face=_faces(networks.face, memory),
        perceptual=_distance(networks.perceptual, memory),
        distribution=_features(networks.distribution, memory),
        distribution_64=_features(networks.distribution_64, memory),
    )


def _features(network: Named[Features], memory: Memory) -> Named[Features]:
    ask = _once(network.fingerprint, memory, lambda pictures: {"rows": network.call(pictures)}, _picture_key)

    def call(pictures: Pictures) -> Float[Tensor, "n d"]:
        return torch.stack([row for (row,) in ask(pictures)]) if pictures else network.call(pictures)

    return Named(network.name, network.fingerprint, call)


def _texts(network: Named[Texts], memory: Memory) -> Named[Texts]:
    ask = _once(network.fingerprint, memory, lambda texts: {"rows": network.call(texts)}, _text_key)

    def call(texts: Sequence[str]) -> Float[Tensor, "n d"]:
        return torch.stack([row for (row,) in ask(texts)]) if texts else network.call(texts)

    return Named(network.name, network.fingerprint, call)


def _faces(network: Named[Faces], memory: Memory) -> Named[Faces]:
    def look(pictures: Pictures) -> Entry:
        faces = network.call(pictures)
        width = max((len(face) for face in faces if face is not None), default=0)
        rows = [torch.zeros(width) if face is None else face for face in faces]
        return {"found": torch.tensor([face is not None for face in faces]), "rows": torch.stack(rows)}

    ask = _once(network.fingerprint, memory, look, _picture_key)
    return Named(
        network.name,
        network.fingerprint,
        lambda pictures: [row if found else None for found, row in ask(pictures)],
    )


def _distance(network: Named[Distance], memory: Memory) -> Named[Distance]:
    def measure(pairs: Sequence[tuple[Picture, Picture]]) -> Entry:
        return {"rows": network.call([one for one, _ in pairs], [other for _, other in pairs])}

    ask = _once(network.fingerprint, memory, measure, lambda pair: _picture_key(pair[0]) + _picture_key(pair[1]))

    def call(ones: Pictures, others: Pictures) -> Float[Tensor, " n"]:
        if not ones or len(ones) != len(others):
            return network.call(ones, others)  # which says what is wrong
        return torch.stack([row for (row,) in ask(list(zip(ones, others, strict=True)))])

    return Named(network.name, network.fingerprint, call)


def _once(
    fingerprint: str,
    memory: Memory,
    compute: Callable[[Sequence[Item]], Entry],
    key: Callable[[Item], str],
) -> Callable[[Sequence[Item]], list[Row]]:
    """Of each item its row of every tensor that ``compute`` returns, in the order of names; each computed once."""

    def ask(items: Sequence[Item]) -> list[Row]:
        keys = [f"{fingerprint}/{key(item)}" for item in items]
        new = {name: item for name, item in zip(keys, items, strict=True) if name not in memory.rows}
        if new:
            question = hashlib.sha256("".join(new).encode()).hexdigest()
            entry = memory.files.get(key_of("evaluation", {"items": question}), lambda: compute(list(new.values())))
            rows = zip(*(entry[tensor] for tensor in sorted(entry)), strict=True)
            memory.rows.update(zip(new, rows, strict=True))
        return [memory.rows[name] for name in keys]

    return ask


def _picture_key(picture: Picture) -> str:
    digest = hashlib.sha256(f"{picture.dtype}/{tuple(picture.shape)}".encode())
    digest.update(picture.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _text_key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
