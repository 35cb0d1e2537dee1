"""The small networks of a judge: a convolutional tower for pictures, a transformer for sentences."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

SIDE: Final = 64
"""Pictures are judged at 64x64 pixels."""


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """Sizes of a judge's networks, and the words that it reads and answers with.

    channels: of the picture tower at 32x32, 16x16, 8x8 and 4x4; features: of every unit vector; attributes: the values
    that each attribute can take; words: what the text tower knows.
    """

    channels: tuple[int, int, int, int]
    features: int
    text_width: int
    attributes: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position, so that pictures of a batch never touch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape, channels last in memory."""
        last = functional.layer_norm(x.permute(0, 2, 3, 1), self.scale.shape, self.scale, self.shift)
        return last.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """x + conv(relu(norm(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        return x + self.conv(functional.relu(self.norm(x)))


class PictureTower(nn.Module):
    """64x64 pixels in [-1, 1] to a vector: mean and spread of every channel at four scales, and a coarse layout.

    The spreads tell textures apart, and so styles; the layout, 4x4 of the 8x8 scale, keeps what is where, and so the
    shape of the object. About 50 MFLOP a picture.
    """

    BLOCKS: Final = (0, 1, 2, 1)
    LAYOUT_SCALE: Final = 2
    LAYOUT_SIDE: Final = 4

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        before = (3, *channels[:-1])
        strides: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=2, padding=1)]
        for a, b in zip(before[1:], channels[1:], strict=True):
            strides.append(nn.Sequential(ChannelNorm(a), nn.ReLU(), nn.Conv2d(a, b, 2, stride=2)))
        self.scales = nn.ModuleList(
            nn.Sequential(stride, *(Residual(c) for _ in range(blocks)))
            for stride, c, blocks in zip(strides, channels, self.BLOCKS, strict=True)
        )
        laid_out = channels[self.LAYOUT_SCALE]
        self.layout_norm = ChannelNorm(laid_out)
        self.pooled = 2 * sum(channels) + self.LAYOUT_SIDE**2 * laid_out
        self.norm = nn.LayerNorm(self.pooled)

    def forward(self, pixels: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b p"]:
        """p is ``pooled``."""
        x, pools = pixels, []
        for number, scale in enumerate(self.scales):
            x = scale(x)
            mean = x.mean((2, 3))
            variance = (x - mean[:, :, None, None]).square().mean((2, 3))
            pools += [mean, (variance + 1e-4).sqrt()]
            if number == self.LAYOUT_SCALE:
                seen = functional.relu(self.layout_norm(x))
                pools.append(functional.adaptive_avg_pool2d(seen, self.LAYOUT_SIDE).flatten(1))
        return self.norm(torch.cat(pools, 1))


class Encoder(nn.Module):
    """A picture tower and a projection: pixels in [-1, 1] to a unit vector."""

    def __init__(self, channels: tuple[int, int, int, int], features: int) -> None:
        super().__init__()
        self.tower = PictureTower(channels)
        self.project = nn.Linear(self.tower.pooled, features)

    def forward(self, pixels: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b d"]:
        """Unit vectors."""
        return functional.normalize(self.project(self.tower(pixels)), dim=1)


class Reader(nn.Module):
    """A picture tower that names attributes and that shares a space with the text tower."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.tower = PictureTower(config.channels)
        self.project = nn.Linear(self.tower.pooled, config.features)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.tower.pooled, len(values)) for name, values in config.attributes.items()}
        )

    def forward(self, pixels: Float[Tensor, "b 3 64 64"]) -> tuple[Float[Tensor, "b d"], dict[str, Tensor]]:
        """Unit vectors, and logits (b, values) of each attribute."""
        pooled = self.tower(pixels)
        logits = {name: head(pooled) for name, head in self.heads.items()}
        return functional.normalize(self.project(pooled), dim=1), logits


class TextTower(nn.Module):
    """Word numbers to a unit vector: two transformer layers, the mean over words; 0 fills a row's end."""

    HEADS: Final = 4
    LAYERS: Final = 2

    def __init__(self, words: int, width: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "attend": nn.Linear(width, 3 * width),
                    "merge": nn.Linear(width, width),
                    "think": nn.Sequential(
                        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
                    ),
                }
            )
            for _ in range(self.LAYERS)
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, features)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """Unit vectors; every row has at least one word."""
        is_word = tokens != 0
        x = self.embedding(tokens) + _positions(tokens.shape[1], self.embedding.embedding_dim).to(tokens.device)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            split = layer["attend"](layer["norm"](x)).unflatten(2, (3, self.HEADS, -1)).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(*split.unbind(0), attn_mask=is_word[:, None, None])
            x = x + layer["merge"](mixed.transpose(1, 2).flatten(2))
            x = x + layer["think"](x)
        kept = is_word[:, :, None]
        mean = (self.norm(x) * kept).sum(1) / kept.sum(1)
        return functional.normalize(self.project(mean), dim=1)


class Networks(nn.Module):
    """Everything that a judge knows."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.reader = Reader(config)
        self.text = TextTower(len(config.words), config.text_width, config.features)
        self.instance = Encoder(config.channels, config.features)
        self.face = Encoder(config.channels, config.features)
        self.style = Encoder(config.channels, config.features)


def words_of(text: str) -> list[str]:
    """The words of a text, without case or punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def tokenize(texts: Sequence[str], words: Sequence[str]) -> Int[Tensor, "b t"]:
    """Numbers of the known words of each text, counted from 1, filled up with 0; unknown words are left out."""
    numbers = {word: number for number, word in enumerate(words, start=1)}
    rows = [torch.tensor([numbers[w] for w in words_of(text) if w in numbers], dtype=torch.long) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _positions(length: int, width: int) -> Float[Tensor, "t d"]:
    """Sines and cosines of falling frequency. Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5."""
    rates = 10_000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
