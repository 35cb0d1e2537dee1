"""Folders of captioned pictures: complete or absent, the same bytes every time, nothing overwritten."""

import itertools

import pytest
from PIL import Image
from typer.testing import CliRunner

from maquette.cli.world import world_app
from maquette.embedded.claims import claims
from maquette.embedded.folders import (
    Captioned,
    face_pictures,
    scene_pictures,
    style_pictures,
    subject_pictures,
    write_folder,
)
from maquette.embedded.scene import held_out_face, held_out_subject
from maquette.embedded.vocabulary import PLACES
from maquette.errors import ConfigError


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_holds_pictures_and_captions_of_the_same_stem(tmp_path):
    paths = write_folder(subject_pictures(3, 12), tmp_path / "deep" / "mine")
    assert [path.name for path in paths[:2]] == ["000.png", "001.png"]
    assert len(contents(tmp_path / "deep" / "mine")) == 24
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine"]
    for path in paths:
        with Image.open(path) as image:
            assert (image.mode, image.size, image.info) == ("RGB", (64, 64), {})
        assert claims(path.with_suffix(".txt").read_text("utf-8")).kind == held_out_subject(3).kind


@pytest.mark.parametrize("draw", [subject_pictures, face_pictures, style_pictures])
def test_the_same_request_writes_the_same_bytes_and_more_pictures_change_none(tmp_path, draw):
    for name, count, seed in (("a", 3, 0), ("b", 3, 0), ("more", 5, 0), ("other", 3, 1)):
        write_folder(draw(1, count, seed), tmp_path / name)
    once = contents(tmp_path / "a")
    assert once == contents(tmp_path / "b")
    assert once.items() <= contents(tmp_path / "more").items()
    assert once["000.png"] != contents(tmp_path / "other")["000.png"]


def test_captions_with_a_token_name_it_and_the_class():
    subject = [picture.caption for picture in subject_pictures(0, 10, token="sks")]
    assert all(text.startswith(f"a photo of sks {held_out_subject(0).kind} ") for text in subject)
    assert {claims(text).place for text in subject} == set(PLACES)
    face = [picture.caption for picture in face_pictures(0, 3, token="ohwx")]
    assert all(text.startswith(f"a photo of ohwx {held_out_face(0).gender} ") for text in face)
    style = [picture.caption for picture in style_pictures(0, 3, token="sks")]
    assert all(text.endswith(", in sks style") for text in style)


def test_a_style_folder_mixes_kinds_and_places_and_its_captions_leave_the_style_out():
    claimed = [claims(picture.caption) for picture in style_pictures(5, 10)]
    assert len({claim.kind for claim in claimed}) == len({claim.place for claim in claimed}) == 10
    assert {claim.style for claim in claimed} == {None}


def test_scenes_differ(tmp_path):
    paths = write_folder(scene_pictures(8, seed=2), tmp_path / "scenes")
    assert len({path.read_bytes() for path in paths}) == 8


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "note").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="not empty"):
        write_folder(scene_pictures(1), tmp_path)
    assert contents(tmp_path) == {"note": b"mine"}


def test_a_file_in_the_way_is_refused_and_kept(tmp_path):
    (tmp_path / "file").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="is a file"):
        write_folder(scene_pictures(1), tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_folder(scene_pictures(1), tmp_path / "file" / "below")
    assert contents(tmp_path) == {"file": b"mine"}


def test_an_empty_folder_is_filled(tmp_path):
    assert len(write_folder(scene_pictures(1), tmp_path / ".")) == 1


def test_a_failure_halfway_leaves_nothing_behind(tmp_path):
    def failing():
        yield from itertools.islice(scene_pictures(2), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(failing(), tmp_path / "out")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (subject_pictures(-1, 1), "index = -1"),
        (style_pictures(8, 1), "index = 8.*0 neon.*7 low poly"),
        (scene_pictures(0), "count = 0"),
        (face_pictures(0, 1, token=" "), "token = ' '"),
        (style_pictures(0, 1, token="a\nb"), "token"),
    ],
)
def test_mistakes_are_refused_and_leave_nothing_behind(tmp_path, pictures: list[Captioned], message):
    with pytest.raises(ConfigError, match=message):
        write_folder(pictures, tmp_path / "out")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("what", ["subject", "style", "face", "scenes"])
def test_the_command_writes_what_it_says(tmp_path, what):
    result = CliRunner().invoke(world_app, [what, "--out", str(tmp_path / "out"), "-n", "2"])
    assert result.exit_code == 0, result.output
    assert "Wrote 2 pictures" in result.output
    assert sorted(contents(tmp_path / "out")) == ["000.png", "000.txt", "001.png", "001.txt"]


def test_the_command_passes_its_options_on_and_lets_errors_through(tmp_path):
    options = ["--index", "2", "--seed", "4", "--token", "sks", "-n", "1"]
    CliRunner().invoke(world_app, ["subject", "--out", str(tmp_path / "out"), *options])
    direct = write_folder(subject_pictures(2, 1, 4, "sks"), tmp_path / "direct")
    assert contents(tmp_path / "out") == contents(direct[0].parent)
    result = CliRunner().invoke(world_app, ["style", "--out", str(tmp_path / "x"), "--index", "99"])
    assert isinstance(result.exception, ConfigError)
