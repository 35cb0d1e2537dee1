"""Networks whose answers can be worked out by hand, and sets of pictures for them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from maquette.evaluation.metric import EvalSet, Picture, Pictures
from maquette.evaluation.networks import Named, Networks

WIDTH = 12


def picture(seed: int, size: int = 8) -> Picture:
    """Noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, size, size), dtype=torch.uint8, generator=generator)


def coded(number: int) -> Picture:
    """A picture of one colour that says which row of a table it stands for."""
    return torch.full((3, 2, 2), number, dtype=torch.uint8)


def rows(table: Sequence[Sequence[float]]) -> Named[Callable[[Pictures], Tensor]]:
    """A network that reads ``coded`` pictures as the rows of a table."""
    return Named("table", "table", lambda pictures: torch.tensor([table[int(each[0, 0, 0])] for each in pictures]))


def pixel_features(pictures: Pictures) -> Tensor:
    """Unit vectors of any pictures, by a fixed random projection of their pixels."""
    generator = torch.Generator().manual_seed(1)
    project = torch.randn(48, WIDTH, generator=generator)
    small = torch.stack([functional.adaptive_avg_pool2d(each.float(), 4).flatten() for each in pictures])
    return functional.normalize((small / 128 - 1) @ project, dim=1)


def text_features(texts: Sequence[str]) -> Tensor:
    """Unit vectors that have nothing to do with each other."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
    found = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return functional.normalize(torch.stack(found), dim=1)


def pixel_distance(ones: Pictures, others: Pictures) -> Tensor:
    """Mean absolute difference of pictures of any sizes, 0 to 1."""
    small = [[functional.adaptive_avg_pool2d(each.float(), 2) / 255 for each in side] for side in (ones, others)]
    return torch.stack([(a - b).abs().mean() for a, b in zip(*small, strict=True)])


def fake_networks() -> Networks:
    """Deterministic, quick, and without any meaning."""
    pixels = Named("pixels", "pixels", pixel_features)
    return Networks(
        instance=pixels,
        image=pixels,
        text=Named("words", "words", text_features),
        style=pixels,
        face=Named("pixels", "faces", lambda pictures: list(pixel_features(pictures))),
        perceptual=Named("pixel distance", "distance", pixel_distance),
        distribution=pixels,
        distribution_64=pixels,
    )


def fake_set(per_prompt: int = 3) -> EvalSet:
    """Two concepts, one with twice the prompts and so twice the pictures of the other."""
    prompts = [text for text in ("a dog", "a dog on grass", "a mug") for _ in range(per_prompt)]
    return EvalSet(
        generated=[picture(i) for i in range(len(prompts))],
        prompts=prompts,
        concepts=["dog" if "dog" in text else "mug" for text in prompts],
        references={"dog": [picture(100 + i, 6) for i in range(4)], "mug": [picture(200 + i) for i in range(2)]},
        class_images={"dog": [picture(300 + i) for i in range(3)], "mug": [picture(400 + i) for i in range(2)]},
        neutral=[picture(500 + i) for i in range(4)],
        neutral_base=[picture(600 + i) for i in range(4)],
    )


def shuffled(pictures: EvalSet, order: Sequence[int]) -> EvalSet:
    """The same set with its generated pictures in another order."""
    return replace(
        pictures,
        generated=[pictures.generated[i] for i in order],
        prompts=[pictures.prompts[i] for i in order],
        concepts=[pictures.concepts[i] for i in order],
    )
