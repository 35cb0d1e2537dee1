import numpy as np
import pytest
from PIL import Image

from maquette.data.masks import read_mask
from maquette.data.sample import Source
from maquette.data.scan import scan
from maquette.errors import DataError


def half(path, size=(64, 64)) -> np.ndarray:
    values = np.zeros(size, dtype=np.uint8)
    values[:, size[1] // 2 :] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return values


def test_label_beside_the_picture(tmp_path, paint):
    paint("a.jpg")
    expected = half(tmp_path / "a-masklabel.png")
    (sample,) = scan(Source(tmp_path, prompt="a dog", masks="label")).usable()
    np.testing.assert_array_equal(np.asarray(read_mask(sample)), expected)


def test_labels_are_never_pictures_and_a_warning_says_they_are_unused(tmp_path, paint):
    paint("a.jpg")
    half(tmp_path / "a-masklabel.png")
    found = scan(Source(tmp_path, prompt="a dog"))
    assert [sample.name for sample in found.usable()] == ["a.jpg"]
    assert [finding.names for finding in found.findings] == [("a-masklabel.png",)]


def test_mask_folder_inside_the_pictures(tmp_path, paint):
    paint("a.jpg", seed=1)
    paint("deep/b.jpg", seed=2)
    half(tmp_path / "masks/a.png")
    half(tmp_path / "masks/deep/b.png")
    half(tmp_path / "masks/orphan.png")
    found = scan(Source(tmp_path, prompt="a dog", masks="folder", mask_folder=tmp_path / "masks"))
    assert [sample.mask for sample in found.usable()] == [tmp_path / "masks/a.png", tmp_path / "masks/deep/b.png"]
    assert [(f.kind, f.names) for f in found.findings] == [("mask-orphan", ("orphan.png",))]


def test_alpha_as_mask_is_no_surprise_any_more(tmp_path, paint):
    rgba = np.full((64, 64, 4), 200, dtype=np.uint8)
    rgba[:, :32, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    paint("b.png", seed=1)
    found = scan(Source(tmp_path, prompt="a dog", masks="alpha"))
    with_mask, without = found.usable()
    np.testing.assert_array_equal(np.asarray(read_mask(with_mask)), rgba[..., 3])
    assert read_mask(without) is None
    assert [(f.kind, f.level) for f in found.findings] == [("mask-missing", "warning"), ("decoded", "note")]


def test_bad_masks_are_listed_and_none_at_all_is_an_error(tmp_path, paint):
    paint("a.jpg", seed=1)
    paint("b.jpg", seed=2)
    half(tmp_path / "a-masklabel.png", (64, 32))
    Image.new("L", (64, 64)).save(tmp_path / "b-masklabel.png")
    with pytest.raises(DataError, match=r"2: a-masklabel.png: is 64x32.*b-masklabel.png: is black"):
        scan(Source(tmp_path, prompt="a dog", masks="label")).usable()
    with pytest.raises(DataError, match=r'data\.masks = "alpha", but no picture has a mask'):
        scan(Source(tmp_path, prompt="a dog", masks="alpha")).usable()
