"""Pictures in a page carry their pixels and nothing else."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from tests.unit.report.sample_run import picture

from maquette.report.pictures import Embedded, Thumbnail, embed, read_thumbnails, save_thumbnails

SECRET = b"somebody's telephone"


def decoded(embedded: Embedded) -> tuple[bytes, Image.Image]:
    head, _, body = embedded.url.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    data = base64.b64decode(body, validate=True)
    return data, Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("side", [64, 600])
def test_nothing_but_pixels_is_embedded(kind, side):
    exif = Image.Exif()
    exif[0x010F] = SECRET.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", SECRET.decode())
    extra = {"comment": SECRET} if kind == "jpeg" else {"pnginfo": text}
    stored = io.BytesIO()
    picture(1, (side, side)).save(stored, kind, exif=exif, icc_profile=profile, **extra)
    assert SECRET in stored.getvalue()
    with Image.open(io.BytesIO(stored.getvalue())) as image:
        data, copy = decoded(embed(image, 512))
    assert SECRET not in data
    assert not copy.getexif()
    assert "icc_profile" not in copy.info
    assert "comment" not in copy.info


def test_a_small_picture_loses_nothing():
    image = picture(2)
    _, copy = decoded(embed(image, 512))
    assert np.array_equal(np.asarray(copy), np.asarray(image))


def test_a_large_picture_is_made_smaller_and_keeps_its_shape():
    embedded = embed(picture(3, (400, 1000)), 500)
    _, copy = decoded(embedded)
    assert (copy.height, copy.width) == (200, 500)
    assert copy.format == "JPEG"
    assert embedded.size == (400, 1000)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_any_mode_of_pillow_can_be_embedded(mode):
    _, copy = decoded(embed(picture(4).convert(mode), 512))
    assert copy.mode == "RGB"


def test_thumbnails_come_back_with_their_captions(tmp_path):
    save_thumbnails(tmp_path / "p", [(picture(1), "a “mug”\nin two lines"), (picture(2, (300, 600)), "")])
    first, second = read_thumbnails(tmp_path / "p")
    assert (first.caption, second.caption) == ("a “mug”\nin two lines", "")
    with Image.open(second.file) as image:
        assert (image.height, image.width) == (128, 256)
    assert not list((tmp_path / "p").glob(".*"))


def test_people_may_keep_their_pictures_out(tmp_path):
    save_thumbnails(tmp_path / "p", [(picture(1), "a mug")], captions_only=True)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["metadata.jsonl"]
    assert list(read_thumbnails(tmp_path / "p")) == [Thumbnail("a mug", None)]


def test_no_thumbnails_are_no_pictures(tmp_path):
    assert list(read_thumbnails(tmp_path / "none")) == []
