"""Bytes of a picture -> upright 8-bit RGB, cut to a view. The only place where sizes are PIL's (width, height)."""

import importlib
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, ImageChops, ImageOps

from maquette.data.sample import Size
from maquette.data.view import View, covering_size
from maquette.errors import DataError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff"})
"""File names that Pillow alone reads; animated ones count with their first frame."""

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""What telephones write; read with the extra `heif`."""

ROTATED = "rotated as the camera says (EXIF)"
TRANSPARENT = "transparent, laid on white"
ANIMATED = "animated or of several pages, only the first is used"
DEEP = "of more than 8 bits a channel, reduced to 8"
CMYK = "in print colours (CMYK), converted to RGB"

# What Pillow's decoders raise on damaged files, found by feeding it thousands of cut and altered ones.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: upright RGB, its opacity unless it is opaque all over, and what decoding had to change."""

    rgb: Image.Image
    alpha: Image.Image | None
    notes: tuple[str, ...]

    @property
    def size(self) -> Size:
        """(height, width) in pixels, after rotation."""
        return self.rgb.height, self.rgb.width


def decode(data: bytes, name: str) -> Picture:
    """The picture in some bytes: rotated as its EXIF says, first frame, 8 bits, transparency laid on white.

    Raises DataError, naming ``name``, where the bytes are no picture or end too early.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            notes = []
            # MPO is how cameras store a photograph with a preview or a depth map behind it: no animation.
            if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
                notes.append(ANIMATED)
            opened.load()
            if opened.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
                notes.append(ROTATED)
            upright = ImageOps.exif_transpose(opened)
            if upright.mode == "CMYK":
                notes.append(CMYK)
            if upright.mode.startswith(("I", "F")):
                notes.append(DEEP)
                upright = _eight_bits(upright, name)
            return _on_white(upright, notes)
    except BROKEN as error:
        raise DataError(f"{name}: {_reason(error)}.") from error


def _on_white(image: Image.Image, notes: list[str]) -> Picture:
    if not image.has_transparency_data:
        return Picture(image.convert("RGB"), None, tuple(notes))
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if ImageChops.invert(alpha).getbbox() is None:
        return Picture(rgba.convert("RGB"), None, tuple(notes))
    white = Image.new("RGBA", rgba.size, "white")
    return Picture(Image.alpha_composite(white, rgba).convert("RGB"), alpha, (*notes, TRANSPARENT))


def decode_mask(data: bytes, name: str, size: Size) -> Image.Image:
    """A mask as an 8-bit grey picture of ``size``: bright is learned, black is not.

    Colours count by their lightness; a mask that is itself transparent in parts counts by its opacity.
    Raises DataError where it is no picture, is black all over, or has another shape than ``size``.
    """
    picture = decode(data, name)
    mask = picture.rgb.convert("L") if picture.alpha is None else picture.alpha
    (height, width), (h, w) = picture.size, size
    # One pixel of rounding on either side is allowed to masks that were made on a smaller copy.
    if abs(height * w - width * h) > max(h, w, height, width):
        raise DataError(f"{name}: is {height}x{width}, but its picture is {h}x{w}; a mask needs the same shape.")
    if mask.getbbox() is None:
        raise DataError(f"{name}: is black all over, so nothing would be learned. Brighten what counts.")
    return mask if picture.size == size else mask.resize((w, h), Image.Resampling.BILINEAR)


def show(picture: Picture, view: View) -> UInt8[np.ndarray, "h w 3"]:
    """The picture as a view shows it: Lanczos resampling, then mirror, then cut."""
    return np.asarray(_viewed(picture.rgb, view, Image.Resampling.LANCZOS))


def show_mask(mask: Image.Image, view: View) -> Float[np.ndarray, "h w"]:
    """A mask of the picture's size as the same view shows it, from 0 to 1. Bilinear: Lanczos would ring below 0."""
    return np.asarray(_viewed(mask, view, Image.Resampling.BILINEAR), dtype=np.float32) / 255


def _viewed(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    height, width = covering_size((image.height, image.width), view.size)
    if (height, width) != (image.height, image.width):
        image = image.resize((width, height), resampling)
    if view.flip:
        image = ImageOps.mirror(image)
    (top, left), (h, w) = view.crop, view.size
    return image.crop((left, top, left + w, top + h))


def likeness(picture: Picture) -> int:
    """A 64-bit perceptual hash: signs of the lowest 8 x 8 cosine frequencies of the grey picture, against their median.

    Resizing, recompression and slight changes of colour flip few bits. Source: Zauner 2010, section 3.2.1 (pHash).
    """
    grey = np.asarray(picture.rgb.resize((32, 32), Image.Resampling.BOX, reducing_gap=2).convert("L"), dtype=np.float64)
    k, n = np.mgrid[0:8, 0:32]
    cosines = np.cos(np.pi * k * (2 * n + 1) / 64)
    frequencies = (cosines @ grey @ cosines.T).ravel()
    # The mean brightness is left out of the median, which it would pull; its own bit is then always set.
    signs = frequencies > np.median(frequencies[1:])
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


def read_heif() -> bool:
    """Teach Pillow to read HEIF, and say whether it can: the package of the extra `heif` is optional."""
    try:
        heif = importlib.import_module("pillow_heif")
    except ModuleNotFoundError:
        return False
    heif.register_heif_opener()
    return True


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    # Integers hold 16 bits whatever their type; floating-point pictures are defined from 0 to 1.
    full = 1.0 if image.mode.startswith("F") else 65535.0
    if not (low >= 0 and high <= full):
        message = f"{name}: its values go from {low:g} to {high:g}, not from 0 to {full:g}. Save it with 8 or 16 bits."
        raise DataError(message)
    return Image.fromarray((values * (255 / full)).round().astype(np.uint8))


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "is not a picture that can be read; convert it to PNG or JPEG, or remove it"
    if isinstance(error, Image.DecompressionBombError):
        return "is too large to be a photograph, or built to exhaust memory; make it smaller"
    return f"is damaged or cut short ({error}); fetch it again, or remove it"
