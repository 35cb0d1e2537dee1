"""How good the two judges are, on renders that neither they nor the base were trained on: python -m benchmarks.judge

Reading: 1000 scenes of the split "test", all training styles, faces one in seven. Kind, place and style count on all of
them, main colour and pattern on all but persons.

Captions: each of these pictures among the captions of 50 scenes, its own and 49 others; right if its own is nearest.
Some captions fit several pictures, so this has no bar.

Retrieval: the gallery has one picture of each subject (face, style), a query is another picture of one of them, and is
right if the nearest gallery picture is its own. A query never stands in the place of its own gallery picture, strangers
may; pose, scale and light differ always. The share is over every choice of the gallery's pictures.
- Instances: held-out subjects 0 to 49, which are of 19 kinds, 3 of them held out; 10 photos each, one in each place.
- Faces: held-out persons 0 to 39; 10 photos each, one in each place, with changing expressions and shirts.
- Styles: the 8 held-out styles; 40 pictures each, of unrelated subjects, faces and places.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from rich.console import Console
from rich.table import Table
from torch import Tensor

from maquette.embedded.captions import caption
from maquette.embedded.claims import facts
from maquette.embedded.keys import rng_for
from maquette.embedded.render import render
from maquette.embedded.scene import Face, Scene, Subject, held_out_face, held_out_subject, scene_at, with_scene
from maquette.embedded.vocabulary import HELD_OUT_STYLES, PLACES
from maquette.evaluation.judge import Judge
from maquette.evaluation.judges import NAMES, load_judge

BARS: Final[Mapping[str, float]] = {
    "kind": 0.98,
    "place": 0.98,
    "style": 0.98,
    "colour": 0.95,
    "instance retrieval": 0.90,
    "face retrieval": 0.90,
    "style retrieval": 0.90,
}


def pictures(scenes: Sequence[Scene]) -> UInt8[Tensor, "n 3 64 64"]:
    """The renders of these scenes."""
    stacked = np.stack([np.asarray(render(scene)) for scene in scenes])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def unseen_scenes(count: int) -> list[Scene]:
    """Scenes in training styles that nothing was trained on."""
    return [scene_at(key, "test") for key in range(count)]


def in_every_place(subjects: Sequence[Subject | Face], label: str) -> list[list[Scene]]:
    """Photos of each subject, one in each place."""
    return [
        [
            with_scene(subject, rng_for("bars", label, number, place).getrandbits(60), place=place, style="photo")
            for place in PLACES
        ]
        for number, subject in enumerate(subjects)
    ]


def in_styles(styles: Sequence[str], count: int) -> list[list[Scene]]:
    """Unrelated scenes, ``count`` for each style."""
    first = 100_000  # far from the scenes of the other measurements
    return [
        [replace(scene_at(first + number * count + i, "test"), style=style) for i in range(count)]
        for number, style in enumerate(styles)
    ]


def reading(judge: Judge, scenes: Sequence[Scene], images: UInt8[Tensor, "n 3 64 64"]) -> dict[str, float]:
    """The share of pictures whose attribute is read right, among those that have it."""
    true, values = [facts(scene) for scene in scenes], judge.read(images).values
    shares = {}
    for name in judge.attributes:
        pairs = [(getattr(t, name), v) for t, v in zip(true, values[name], strict=True) if getattr(t, name) is not None]
        shares[name] = sum(t == v for t, v in pairs) / len(pairs)
    return shares


def caption_matching(judge: Judge, scenes: Sequence[Scene], images: UInt8[Tensor, "n 3 64 64"], among: int) -> float:
    """The share of pictures that are nearest to their own caption among those of as many neighbours."""
    texts = [caption(scene, rng_for("bars caption", number)) for number, scene in enumerate(scenes)]
    shown, said = judge.image_features(images), judge.text_features(texts)
    rights = [
        (a @ b.T).argmax(1) == torch.arange(len(a)) for a, b in zip(shown.split(among), said.split(among), strict=True)
    ]
    return torch.cat(rights).float().mean().item()


def retrieval(features: Float[Tensor, "i v d"], may_ask: Bool[Tensor, "i v v"]) -> float:
    """The share of queries whose nearest gallery picture is their own, over every choice of the gallery.

    features: of v pictures of each of i identities. may_ask[a, q, g]: whether picture q of identity a is a fair query
    where picture g of each identity makes the gallery.
    """
    own = torch.arange(len(features))[:, None]
    rights = [((features @ features[:, g].T).argmax(2) == own)[may_ask[:, :, g]] for g in range(features.shape[1])]
    return torch.cat(rights).float().mean().item()


def in_other_places(shelves: Sequence[Sequence[Scene]]) -> Bool[Tensor, "i v v"]:
    """Which two pictures of one identity stand in different places."""
    place = torch.tensor([[PLACES.index(scene.place) for scene in shelf] for shelf in shelves])
    return place[:, :, None] != place[:, None, :]


def shelf_pictures(shelves: Sequence[Sequence[Scene]]) -> UInt8[Tensor, "n 3 64 64"]:
    """The renders of all shelves, one after the other."""
    return pictures([scene for shelf in shelves for scene in shelf])


def measure(judge: Judge) -> dict[str, float]:
    """Every share of this page's protocol."""
    scenes = unseen_scenes(1000)
    images = pictures(scenes)
    shares = reading(judge, scenes, images)
    shares["caption among 50"] = caption_matching(judge, scenes, images, 50)
    shelves = {
        "instance retrieval": (
            in_every_place([held_out_subject(i) for i in range(50)], "subject"),
            judge.instance_features,
        ),
        "face retrieval": (in_every_place([held_out_face(i) for i in range(40)], "face"), judge.face_features),
        "style retrieval": (in_styles(HELD_OUT_STYLES, 40), judge.style_features),
    }
    for name, (shelf, encode) in shelves.items():
        features = encode(shelf_pictures(shelf)).unflatten(0, (len(shelf), -1))
        shares[name] = retrieval(features, in_other_places(shelf))
    return shares


def main() -> int:
    """Print the shares of both judges with their bars; 1 if any bar is missed."""
    judges = [load_judge(name) for name in NAMES]
    shares = [measure(judge) for judge in judges]
    table = Table("measure", "bar", *NAMES, title="The judges on held-out renders, percent")
    for name in shares[0]:
        bar = f">= {100 * BARS[name]:.0f}" if name in BARS else ""
        table.add_row(name, bar, *(f"{100 * share[name]:.1f}" for share in shares))
    Console().print(table)
    missed = [
        f"{n}: {name}" for n, share in zip(NAMES, shares, strict=True) for name in BARS if share[name] < BARS[name]
    ]
    Console().print(f"Missed: {', '.join(missed)}." if missed else "Every bar is met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
