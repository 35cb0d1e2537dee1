import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from maquette.data.image import (
    ANIMATED,
    CMYK,
    DEEP,
    ROTATED,
    TRANSPARENT,
    decode,
    decode_mask,
    likeness,
    show,
    show_mask,
)
from maquette.data.view import View
from maquette.errors import DataError


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_plain_picture_keeps_every_value_and_says_nothing():
    values = noise(5, 7)
    picture = decode(encoded(Image.fromarray(values)), "a.png")
    np.testing.assert_array_equal(np.asarray(picture.rgb), values)
    assert (picture.size, picture.alpha, picture.notes) == ((5, 7), None, ())


# What each orientation of the EXIF standard means, on an array whose rows run down.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_camera_rotation_is_applied(orientation):
    values = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encoded(Image.fromarray(values), exif=exif), "a.png")
    np.testing.assert_array_equal(np.asarray(picture.rgb), UPRIGHT[orientation](values))
    assert picture.notes == (() if orientation == 1 else (ROTATED,))


def test_half_transparent_is_laid_on_white():
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[..., 0] = 200
    rgba[..., 3] = [[0, 255], [128, 255]]
    picture = decode(encoded(Image.fromarray(rgba)), "a.png")
    share = 128 / 255
    mixed = [200 * share + 255 * (1 - share), 255 * (1 - share), 255 * (1 - share)]
    np.testing.assert_allclose(np.asarray(picture.rgb)[1, 0], mixed, atol=1)  # PIL rounds its 8-bit products
    np.testing.assert_array_equal(np.asarray(picture.rgb)[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(np.asarray(picture.rgb)[0, 1], [200, 0, 0])
    np.testing.assert_array_equal(np.asarray(picture.alpha), rgba[..., 3])
    assert picture.notes == (TRANSPARENT,)


def test_opaque_alpha_is_no_surprise():
    rgba = np.dstack([noise(3, 3), np.full((3, 3), 255, np.uint8)])
    picture = decode(encoded(Image.fromarray(rgba)), "a.png")
    np.testing.assert_array_equal(np.asarray(picture.rgb), rgba[..., :3])
    assert (picture.alpha, picture.notes) == (None, ())


def test_palette_and_its_transparent_entry():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    assert np.asarray(decode(encoded(image), "a.png").rgb).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    see_through = decode(encoded(image, transparency=1), "a.png")
    assert np.asarray(see_through.rgb).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_pictures_become_rgb(mode):
    grey = Image.fromarray(noise(4, 4)[..., 0]).convert(mode)
    rgb = np.asarray(decode(encoded(grey), "a.png").rgb)
    expected = np.asarray(grey.convert("L"))
    np.testing.assert_array_equal(rgb, np.repeat(expected[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    picture = decode(encoded(Image.fromarray(values)), "a.png")
    assert np.asarray(picture.rgb)[..., 0].tolist() == [[0, 1, 128, 255]]
    assert picture.notes == (DEEP,)


def test_floating_point_is_read_from_0_to_1_and_refused_beyond():
    ok = decode(encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF"), "a.tiff")
    assert np.asarray(ok.rgb)[..., 0].tolist() == [[0, 128, 255]]
    with pytest.raises(DataError, match=r"hdr.tiff.*from 0 to 7"):
        decode(encoded(Image.fromarray(np.array([[0.0, 7.0]], np.float32)), "TIFF"), "hdr.tiff")


def test_cmyk_is_converted():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    picture = decode(encoded(image, "TIFF"), "a.tif")
    assert np.asarray(picture.rgb)[0, 0].tolist() == [255, 0, 0]
    assert picture.notes == (CMYK,)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animated_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    picture = decode(data, "a")
    assert np.asarray(picture.rgb)[0, 0].tolist() == [255, 0, 0]
    assert picture.notes == (ANIMATED,)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_files_that_were_cut_short_are_refused_by_name(kind):
    data = encoded(Image.fromarray(noise(64, 64)), kind)
    assert decode(data, "whole").size == (64, 64)
    with pytest.raises(DataError, match=r"^x\.img: is (damaged|not a picture)"):
        decode(data[: len(data) // 2], "x.img")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(DataError, match=r"^a\.png: "):
        decode(data, "a.png")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow says of some damage that it reads on without it
def test_damage_anywhere_never_escapes_as_another_error():
    rng = np.random.default_rng(1)
    whole = {kind: encoded(Image.fromarray(noise(16, 16)), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "AVIF")}
    refused = 0
    for data in whole.values():
        for _ in range(80):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                decode(bytes(damaged), "a")
            except DataError:
                refused += 1
    assert refused > 20  # else the damage was too gentle to test anything


def test_view_is_pils_own_resize_and_crop():
    values = noise(40, 60)
    picture = decode(encoded(Image.fromarray(values)), "a.png")
    shown = show(picture, View((20, 20), crop=(0, 7)))
    expected = Image.fromarray(values).resize((30, 20), Image.Resampling.LANCZOS).crop((7, 0, 27, 20))
    np.testing.assert_array_equal(shown, np.asarray(expected))


def test_flip_comes_before_the_cut():
    values = noise(20, 30)
    picture = decode(encoded(Image.fromarray(values)), "a.png")
    shown = show(picture, View((20, 20), crop=(0, 2), flip=True))
    np.testing.assert_array_equal(shown, np.asarray(ImageOps.mirror(Image.fromarray(values)))[:, 2:22])


def test_mask_goes_through_the_same_cut_as_its_picture():
    # The picture is its own mask: grey, so that both are the same numbers at a size that needs no resampling.
    grey = noise(24, 36)[..., 0]
    picture = decode(encoded(Image.fromarray(grey)), "a.png")
    mask = decode_mask(encoded(Image.fromarray(grey)), "m.png", (24, 36))
    view = View((24, 24), crop=(0, 5), flip=True)
    np.testing.assert_allclose(show_mask(mask, view), show(picture, view)[..., 0] / 255, rtol=1e-6)


def test_mask_of_a_smaller_copy_is_enlarged_and_another_shape_refused():
    small = encoded(Image.new("L", (10, 20), 255))
    assert decode_mask(small, "m.png", (40, 20)).size == (20, 40)
    with pytest.raises(DataError, match=r"m\.png: is 20x10, but its picture is 40x40"):
        decode_mask(small, "m.png", (40, 40))


def test_black_mask_is_refused_and_transparent_one_counts_by_opacity():
    with pytest.raises(DataError, match="black all over"):
        decode_mask(encoded(Image.new("L", (4, 4), 0)), "m.png", (4, 4))
    rgba = np.full((2, 2, 4), 255, np.uint8)
    rgba[0, 0, 3] = 0
    mask = decode_mask(encoded(Image.fromarray(rgba)), "m.png", (2, 2))
    assert np.asarray(mask).tolist() == [[0, 255], [255, 255]]


def smooth(seed: int) -> Image.Image:
    return Image.fromarray(noise(6, 6, seed)).resize((120, 120), Image.Resampling.BICUBIC)


def distance(a: Image.Image, b: Image.Image, **options) -> int:
    hashes = [likeness(decode(encoded(image, "JPEG", **options), "x")) for image in (a, b)]
    return (hashes[0] ^ hashes[1]).bit_count()


def test_likeness_survives_resizing_and_recompression_but_tells_pictures_apart():
    for seed in range(5):
        assert distance(smooth(seed), smooth(seed).resize((77, 77)), quality=60) <= 6
        assert distance(smooth(seed), smooth(seed + 100)) >= 14


def test_likeness_is_the_sign_of_the_discrete_cosine_transform():
    from scipy.fft import dctn

    image = smooth(3).resize((32, 32), Image.Resampling.BOX)
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    low = dctn(grey, type=2)[:8, :8].ravel()  # scipy's scaling differs by a constant for all frequencies
    bits = "".join("1" if value > np.median(low[1:]) else "0" for value in low)
    assert f"{likeness(decode(encoded(image), 'x')):064b}" == bits
