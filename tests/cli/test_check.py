"""`maquette check` of bases that are more than one folder, or learn at sizes of their own."""

import json
from pathlib import Path

import pytest
from tests.learning.small import PROMPT, maquette, paint


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    paint(tmp_path / "photos", ("lying",), (24, 48))
    return paint(tmp_path / "photos")


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert maquette("check", *arguments, "--prompt", PROMPT, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["kandinsky-prior", "kandinsky-decoder", "playground"])
def test_pictures_are_checked_for_every_kind_of_base(kind, bases, photos, capsys):
    sets = [f"--set=model.prior={bases('kandinsky-prior')}"] if kind == "kandinsky-decoder" else []
    told = checked(capsys, photos, "--base", bases(kind), *sets)
    assert told["resolution"] == 16
    assert told["num_pictures"] == 4


def test_a_decoder_without_its_prior_is_told_how_to_name_it(bases, photos, capsys):
    for command in ("check", "train", "plan"):
        assert maquette(command, photos, "--prompt", PROMPT, "--base", bases("kandinsky-decoder")) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "Name that too, as a folder or hub id: --set model.prior=kandinsky-community" in said


def test_pictures_are_checked_for_what_a_preset_would_make_of_them(bases, photos, capsys):
    base = ["--base", bases("sd1"), "--preset", "sd1-subject-lora"]
    preset = checked(capsys, photos, *base, "--set=data.upscale=true")
    assert preset["resolution"] == 512
    assert checked(capsys, photos, *base, "--set=data.resolution=64", "--set=data.upscale=true")["resolution"] == 64
