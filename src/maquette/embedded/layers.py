"""What a style is given of a picture (colours, object, outlines) and the few image operations that styles share."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from maquette.embedded.canvas import FIRST_OBJECT_INK, SIDE

Pixels = NDArray[np.floating]

LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Layers:
    """A picture before its style.

    colours: flat colours (h, w, 3) in [0, 255]. backdrop: the same without the object. mask: how much of each pixel the
    object covers (h, w, 1) in [0, 1]. lines: outlines of all regions, object_lines: those of the object alone, both
    (h, w, 1) in [0, 1], about one pixel wide. rng decides grain.
    """

    colours: Pixels
    backdrop: Pixels
    mask: Pixels
    lines: Pixels
    object_lines: Pixels
    rng: np.random.Generator

    @property
    def size(self) -> int:
        """The side of the picture in pixels."""
        return self.colours.shape[0]

    @property
    def unit(self) -> float:
        """How many pixels stand for one pixel of a 64-pixel picture."""
        return self.size / 64


def layers_of(labels: Image.Image, backdrop_labels: Image.Image, palette: list[int], size: int, seed: int) -> Layers:
    """Colour the maps of labels and scale everything down."""
    factor = SIDE // size
    numbers = np.asarray(labels)
    edges = np.zeros((SIDE, SIDE), dtype=np.uint8)
    edges[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    edges[1:] |= numbers[1:] != numbers[:-1]
    covered = (numbers >= FIRST_OBJECT_INK).view(np.uint8)
    touching = Image.fromarray(covered * 255)
    reach = np.asarray(touching.filter(ImageFilter.BoxBlur(1))) > 0
    lines = _reduced(edges * 255, factor)
    object_lines = _reduced(edges * reach.view(np.uint8) * 255, factor)
    return Layers(
        colours=_coloured(labels, palette, factor),
        backdrop=_coloured(backdrop_labels, palette, factor),
        mask=_reduced(covered * 255, factor),
        lines=np.clip(lines * 2.6, 0, 1),
        object_lines=np.clip(object_lines * 2.6, 0, 1),
        rng=np.random.default_rng(seed),
    )


def _coloured(labels: Image.Image, palette: list[int], factor: int) -> Pixels:
    indexed = labels.copy()
    indexed.putpalette(palette)
    return np.asarray(indexed.convert("RGB").reduce(factor), dtype=np.float32)


def _reduced(values: NDArray[np.uint8], factor: int) -> Pixels:
    return np.asarray(Image.fromarray(values).reduce(factor), dtype=np.float32)[..., None] / 255


def luma(pixels: Pixels) -> Pixels:
    """Brightness (h, w, 1) in [0, 255]."""
    return (pixels @ LUMA)[..., None]


def blurred(pixels: Pixels, radius: float) -> Pixels:
    """Box blur of values in [0, 255]; one or three channels."""
    image = Image.fromarray(np.clip(pixels if pixels.shape[2] == 3 else pixels[..., 0], 0, 255).astype(np.uint8))
    result = np.asarray(image.filter(ImageFilter.BoxBlur(radius)), dtype=np.float32)
    return result if result.ndim == 3 else result[..., None]


def spread(mask: Pixels, radius: float) -> Pixels:
    """Box blur of a mask in [0, 1]."""
    return blurred(mask * 255, radius) / 255


def shifted(values: Pixels, down: int, right: int) -> Pixels:
    """Values moved by whole pixels, the border repeated; negative numbers move up and left."""
    size = values.shape[0]
    rows, columns = np.arange(size) - down, np.arange(size) - right
    return values[np.clip(rows, 0, size - 1)][:, np.clip(columns, 0, size - 1)]


def thick(lines: Pixels) -> Pixels:
    """Lines one pixel wider."""
    wide = lines.copy()
    wide[1:] = np.maximum(wide[1:], lines[:-1])
    wide[:, 1:] = np.maximum(wide[:, 1:], wide[:, :-1].copy())
    return wide


def clouds(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    """Smooth noise (size, size, 1) in about [-1, 1] with this many bumps a side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32)[..., None]


def cells(pixels: Pixels, side: int) -> Pixels:
    """Every aligned block of side x side pixels takes its mean."""
    height, width, channels = pixels.shape
    means = pixels.reshape(height // side, side, width // side, side, channels).mean(axis=(1, 3))
    return means.repeat(side, axis=0).repeat(side, axis=1)


def object_cells(layers: Layers, side: int) -> Pixels:
    """Blocks of the mean colour, taken apart for object and backdrop so that the silhouette stays."""
    weight = cells(layers.mask, side)
    inside = cells(layers.colours * layers.mask, side) / np.maximum(weight, 1e-3)
    return mix(cells(layers.backdrop, side), inside, layers.mask)


def mix(a: Pixels | float, b: Pixels | float, share: Pixels | float) -> Pixels:
    """a where share is 0, b where it is 1."""
    return np.asarray(a + (b - a) * share, dtype=np.float32)


def saturated(pixels: Pixels, amount: float) -> Pixels:
    """Push colours away from grey (amount above 1) or towards it (below 1)."""
    return mix(luma(pixels), pixels, amount)


def flat(rgb: tuple[int, int, int]) -> Pixels:
    """One colour (1, 1, 3), to be broadcast."""
    return np.array(rgb, dtype=np.float32).reshape(1, 1, 3)


def grid(size: int) -> tuple[Pixels, Pixels]:
    """Row and column numbers, each (size, size, 1)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return y[..., None], x[..., None]
