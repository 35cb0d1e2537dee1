"""`maquette generate` in-process, on a tiny checkpoint with random weights."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.contract import tiny

from maquette.cli.app import main
from maquette.families import single_file
from maquette.generation.files import write_picture
from maquette.generation.sample import to_picture

# diffusers' samplers hand torch's tensors to numpy in a way that numpy 2 will no longer take.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny.save("sd1", tmp_path_factory.mktemp("bases") / "tiny")


def generate(base: Path, out: Path, *arguments: str) -> int:
    return main(["generate", *arguments, "--steps", "2", "--base", str(base), "--device", "cpu", "--out", str(out)])


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_the_same_command_gives_the_same_bytes(base, tmp_path, capsys):
    for name in ("one", "two"):
        assert generate(base, tmp_path / name, "a photo of sks dog", "a red cat!", "-n", "2", "--seed", "7") == 0
        assert f"4 pictures and their grid: {tmp_path / name / 'grid.png'}" in capsys.readouterr().out
    made = pictures(tmp_path / "one")
    assert made == pictures(tmp_path / "two")
    assert [name.rpartition("-")[2] for name in made if name != "grid.png"] == ["00007.png", "00008.png"] * 2
    assert len(set(made.values())) == 5


def test_a_picture_says_how_it_was_made_and_no_path(base, tmp_path):
    options = ["--negative", "a cat", "--guidance", "3", "--scheduler", "ddim", "--height", "24", "--width", "16"]
    assert generate(base, tmp_path, "a photo of sks dog", *options) == 0
    [file] = [path for path in tmp_path.glob("*.png") if path.name != "grid.png"]
    with Image.open(file) as image:
        assert image.size == (16, 24)
        assert (image.info["prompt"], image.info["negative prompt"]) == ("a photo of sks dog", "a cat")
        settings = json.loads(image.info["maquette"])
        assert str(base.parent) not in str(image.info)
    assert settings["base"] == "tiny"
    assert settings["seed"] == 0
    assert (settings["steps"], settings["guidance"], settings["scheduler"]) == (2, 3.0, "ddim")


def test_what_exists_is_kept_and_what_is_missing_is_made(base, tmp_path):
    assert generate(base, tmp_path, "a cat", "-n", "2") == 0
    first, second = (path for path in sorted(tmp_path.glob("*.png")) if path.name != "grid.png")
    expected, before = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    assert generate(base, tmp_path, "a cat", "-n", "3") == 0
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == expected
    assert len(pictures(tmp_path)) == 4


def test_pictures_with_other_settings_are_never_kept_in_silence(base, tmp_path, capsys):
    assert generate(base, tmp_path, "a cat") == 0
    before = pictures(tmp_path)
    assert generate(base, tmp_path, "a cat", "--guidance", "2") == 2
    assert "made with other settings: a-cat-" in capsys.readouterr().err
    assert pictures(tmp_path) == before


def test_prompts_come_from_a_file(base, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\n\n  a red dog  \n", encoding="utf-8")
    assert generate(base, tmp_path / "out", "--prompts", str(tmp_path / "prompts.txt")) == 0
    assert generate(base, tmp_path / "same", "a cat", "a red dog") == 0
    assert pictures(tmp_path / "out") == pictures(tmp_path / "same")


def test_a_single_file_makes_the_same_pictures_as_the_folder(base, tmp_path):
    family = tiny.sd1()
    save_file(single_file.tensors_of(family), tmp_path / "tiny.safetensors", single_file.metadata_of(family))
    assert generate(base, tmp_path / "folder", "a cat") == 0
    assert generate(tmp_path / "tiny.safetensors", tmp_path / "file", "a cat", "--tokenizer", str(base)) == 0
    made = [Image.open(path) for name in ("folder", "file") for path in (tmp_path / name).glob("a-cat*")]
    assert made[0].tobytes() == made[1].tobytes()
    for image in made:
        image.close()


MISTAKES = {
    "no prompt": ([], "There is no prompt"),
    "no picture": (["a cat", "-n", "0"], "at least 1 picture"),
    "a negative seed": (["a cat", "--seed", "-1"], "seeds are 0 or more"),
    "no step": (["a cat", "--steps", "0"], "--steps 0: at least 1"),
    "guidance below 1": (["a cat", "--guidance", "0.5"], "--guidance 0.5: must be 1"),
    "one side": (["a cat", "--height", "64"], "go together"),
    "a crooked size": (["a cat", "--height", "60", "--width", "64"], "multiples of 8. Nearest: 64x64"),
    "no such sampler": (["a cat", "--scheduler", "eulr"], 'Did you mean "euler"'),
    "a sampler of EDM": (["a cat", "--scheduler", "edm"], "does not fit this base"),
    "no such precision": (["a cat", "--precision", "int8"], "auto, fp32, bf16 or fp16"),
    "fp16 on a CPU": (["a cat", "--precision", "fp16"], "needs a GPU"),
    "no such device": (["a cat", "--device", "tpu"], "no such device here"),
    "too many layers skipped": (["a cat", "--clip-skip", "9"], "allowed are 0 to 2"),
    "a vocabulary too many": (["a cat", "--tokenizer", "someone/model"], "has a tokenizer of its own"),
    "no such base": (["a cat", "--base", "maquette-46"], 'did you mean "maquette-64"'),
    "no such file of prompts": (["--prompts", "nothing.txt"], "cannot be read"),
    "no such adapter": (["a cat", "--adapter", "nothing.safetensors"], "no adapter nothing.safetensors"),
    "a scale without an adapter": (["a cat", "--scale", "0.5"], "--scale is given 1 times for 0 --adapter"),
    "a scale that is no number": (
        ["a cat", "--adapter", "a", "--scale", "nan"],
        "--scale nan: must be a finite number",
    ),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_explained_and_leave_nothing(mistake, base, tmp_path, capsys):
    arguments, words = MISTAKES[mistake]
    code = main(["generate", "--base", str(base), "--device", "cpu", "--out", str(tmp_path / "out"), *arguments])
    said = capsys.readouterr().err
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_file_of_somebody_else_is_not_overwritten(base, tmp_path, capsys):
    assert generate(base, tmp_path / "a", "a cat") == 0
    [name] = [path.name for path in (tmp_path / "a").glob("a-cat*")]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / name).write_bytes(b"mine")
    assert generate(base, tmp_path / "b", "a cat") == 2
    assert "no picture that maquette made" in capsys.readouterr().err
    assert (tmp_path / "b" / name).read_bytes() == b"mine"


def test_pictures_older_than_the_adapter_are_not_taken_for_its_own(base, tmp_path, capsys):
    adapter = tmp_path / "adapter.safetensors"
    shutil.copy(base / "unet" / "diffusion_pytorch_model.safetensors", adapter)
    assert generate(base, tmp_path / "out", "a cat") == 0
    [file] = (tmp_path / "out").glob("a-cat*")
    with Image.open(file) as image:
        settings = json.loads(image.info["maquette"])
    write_picture(file, to_picture(torch.zeros(3, 16, 16)), {**settings, "adapters": [["adapter.safetensors", 1.0]]})
    os.utime(file, (1, 1))
    assert generate(base, tmp_path / "out", "a cat", "--adapter", str(adapter)) == 2
    assert "made before the adapter was last written: a-cat-" in capsys.readouterr().err


def test_pictures_older_than_their_base_are_not_taken_for_its_own(base, tmp_path, capsys):
    own = tmp_path / "base"
    shutil.copytree(base, own)
    assert generate(own, tmp_path / "out", "a cat") == 0
    weights = own / "unet" / "diffusion_pytorch_model.safetensors"
    before, later = pictures(tmp_path / "out"), weights.stat().st_mtime + 60
    assert generate(own, tmp_path / "out", "a cat") == 0
    os.utime(weights, (later, later))  # trained again, under the same name
    assert generate(own, tmp_path / "out", "a cat") == 2
    assert "made before the base was last written: a-cat-" in capsys.readouterr().err
    assert pictures(tmp_path / "out") == before
