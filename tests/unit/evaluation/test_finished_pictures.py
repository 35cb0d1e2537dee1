"""Pictures that somebody made already: which prompt each has, and whose it is."""

import json
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from maquette.errors import DataError
from maquette.evaluation.pictures import Finished, list_finished, list_real, real_of, to_tensor


def save(path: Path, **texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGB", (8, 8), "red").save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(
    ("name", "texts", "prompt", "seed"),
    [
        ("x.png", {"maquette": json.dumps({"prompt": "a red mug", "seed": 7})}, "a red mug", 7),
        ("x.png", {"prompt": "a red mug"}, "a red mug", 0),
        ("x.png", {"parameters": "a red mug\nNegative prompt: blue\nSteps: 20"}, "a red mug", 0),
        ("red mug.png", {"prompt": '{"3": {"class_type": "KSampler"}}'}, "red mug", 0),
        ("red mug.png", {}, "red mug", 0),
        ("red-mug_3.png", {}, "red mug", 3),
        ("red_mug-seed12.png", {}, "red mug", 12),
        ("12.png", {}, "12", 12),
        ("bicycle.png", {"maquette": "no json"}, "bicycle", 0),
    ],
)
def test_the_prompt_is_what_the_file_or_its_name_says(tmp_path, name, texts, prompt, seed):
    file = save(tmp_path / "mugs" / name, **texts)
    assert list_finished(tmp_path / "mugs") == [Finished(file, "mugs", prompt, seed)]


def test_folders_below_are_concepts_and_sheets_are_no_pictures(tmp_path):
    for name in ("00/cat.png", "00/dog.png", "01/cat.png", "01/grid.png"):
        save(tmp_path / name)
    assert [(f.concept, f.prompt) for f in list_finished(tmp_path)] == [("00", "cat"), ("00", "dog"), ("01", "cat")]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures to score"):
        list_finished(tmp_path)
    with pytest.raises(DataError, match=r"holds no pictures\. Name a folder of real pictures"):
        list_real(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        list_finished(tmp_path / "absent")


def names_of(root: Path, concepts: list[str]) -> list[list[str]]:
    return [[each.name for each in real] for real in real_of(root, concepts)]


def test_real_pictures_are_those_in_the_folder_of_the_concept(tmp_path):
    for name in ("dog/a.png", "cat/b.png", "own/c.png", "own/front/d.png"):
        save(tmp_path / name)
    assert names_of(tmp_path, ["dog"]) == [["a.png"]]
    assert names_of(tmp_path, ["cat", "dog"]) == [["b.png"], ["a.png"]]
    assert names_of(tmp_path / "own", ["dog"]) == [["c.png", "front/d.png"]]


def test_real_pictures_of_other_names_than_the_concept_are_refused(tmp_path):
    for name in ("dog6/a.png", "cat2/b.png"):
        save(tmp_path / name)
    with pytest.raises(DataError, match=r"several folders \(cat2, dog6\), and none is called dog\. Name the one"):
        real_of(tmp_path, ["dog"])
    with pytest.raises(DataError, match=r"has no folder cat; it should hold one for each concept: cat, dog6\."):
        real_of(tmp_path, ["cat", "dog6"])


def test_pictures_at_two_depths_are_refused(tmp_path):
    save(tmp_path / "cat.png")
    save(tmp_path / "00" / "cat.png")
    with pytest.raises(DataError, match=r"at its top .* and in folders below"):
        list_finished(tmp_path)


def test_a_picture_becomes_bytes_by_channel_and_a_broken_one_is_named(tmp_path):
    tensor = to_tensor(save(tmp_path / "x.png").read_bytes(), "x.png")
    assert tensor.shape == (3, 8, 8)
    assert tensor[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(DataError, match=r"broken\.png"):
        to_tensor(b"no picture", "broken.png")
