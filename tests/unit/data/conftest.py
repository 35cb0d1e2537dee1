"""Pictures, and a small family whose codes are easy to compute by hand."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import Tensor, nn

from maquette.types import ImageCode

# Examples are the same in every run, and a busy machine is no failure.
settings.register_profile("maquette", deadline=None, derandomize=True)
settings.load_profile("maquette")


class PlainFamily:
    """Codes are 8 x 8 means of the pixels, times a weight; captions are their letters. Counts what it encodes."""

    name = "plain"
    size_multiple = 8
    latent_factor = 8
    default_size = (64, 64)
    diffusion = None

    def __init__(self) -> None:
        self.vae = nn.Linear(1, 1, bias=False)
        self.text_encoder = nn.Embedding(128, 4)
        with torch.no_grad():
            self.vae.weight.fill_(2.0)
            self.text_encoder.weight.copy_(torch.arange(512.0).reshape(128, 4) / 512)
        self.modules: Mapping[str, nn.Module] = {"vae": self.vae, "text_encoder": self.text_encoder}
        self.encoded: list[tuple[int, ...]] = []
        self.embedded = 0

    def encode_images(self, pixels: Tensor, geometry: Tensor) -> ImageCode:
        self.encoded += [tuple(row) for row in geometry.tolist()]
        mean = nn.functional.avg_pool2d(pixels, 8) * self.vae.weight[0, 0]
        return ImageCode(mean, torch.full_like(mean, 0.1), {"time_ids": geometry})

    def tokenize(self, captions: Sequence[str]) -> dict[str, Tensor]:
        return {"ids": torch.tensor([[ord(c) % 128 for c in text.ljust(40)[:40]] for text in captions])}

    def embed_text(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.embedded += 1
        return {"context": self.text_encoder(tokens["ids"])}


@pytest.fixture
def family() -> PlainFamily:
    return PlainFamily()


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of noise, different for each seed, below the test's folder."""

    def write(name: str, size: tuple[int, int] = (64, 64), *, seed: int = 0, mode: str = "RGB", **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).convert(mode).save(path, **options)
        return path

    return write
