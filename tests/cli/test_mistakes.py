"""Mistakes that people make with `maquette train`: each ends in one paragraph that names the thing and the cure.

`maquette plan` finds the same ones, but for those that only whoever writes or reads weights can find.
"""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.learning.small import PROMPT, QUICK, maquette, paint, sets, train

from maquette.adapters.files import write_tensors
from maquette.generation.files import settings_of, write_picture
from maquette.generation.sample import Request
from maquette.training.checkpoint import all_checkpoints

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

Bases = Callable[[str], Path]
OWN = ["photos", "--prompt", PROMPT]


@pytest.fixture
def here(tmp_path: Path, bases: Bases, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures, a base called `base`, and things that are not what they should be."""
    monkeypatch.chdir(tmp_path)
    paint(Path("photos"))
    paint(Path("one"), ("only",))
    paint(Path("small"), ("big",), (24, 24))
    paint(Path("small"), ("tiny",), (8, 8))
    Path("empty").mkdir()
    Path("base").symlink_to(bases("sd1"))
    Path("playground").symlink_to(bases("playground"))
    Path("broken").mkdir()
    (Path("broken") / "torn.png").write_bytes((Path("photos") / "one.png").read_bytes()[:300])
    (Path("broken") / "words.jpg").write_text("no picture")
    shutil.copytree(bases("sd1"), "partial")
    shutil.rmtree("partial/unet")
    shutil.copytree(bases("sd1"), "mixed")
    shutil.rmtree("mixed/text_encoder")
    shutil.copytree(bases("sdxl") / "text_encoder_2", "mixed/text_encoder")
    shutil.copytree(bases("sd1"), "flux")
    index = json.loads(Path("flux/model_index.json").read_text())
    Path("flux/model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    Path("model.ckpt").write_bytes(b"\x80\x04")
    Path("model.safetensors").write_bytes(b"\x00" * 50)
    Path("old.bin").write_bytes(b"\x80\x04")
    cat = settings_of(Request(prompt="a cat", seed=0), {"base": "base"})
    write_picture(Path("cats/class-0000.png"), torch.zeros(3, 24, 24, dtype=torch.uint8), cat)
    Path("torn.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    write_tensors(Path("strange.safetensors"), {"model.x": torch.zeros(1)}, {})
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("mine")
    Path("wrong.toml").write_text("[training]\nsteps = twelve\n")
    Path("typo.toml").write_text('[data]\nfolder = "photos"\n[trainig]\nsteps = 12\n')
    return tmp_path


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command; what it says, held to what every message must be."""
    capsys.readouterr()
    code = maquette(*arguments)
    shown = capsys.readouterr()
    said = shown.err[shown.err.index("error: ") :]
    assert "Traceback" not in shown.err
    assert "fault of maquette" not in said
    assert code == 2
    assert shown.out == ""
    assert "\n\n" not in said.strip()
    assert len(said.splitlines()) <= 8
    assert said.rstrip().endswith((".", "]", ")", "png", "jpg")), said
    return said


MISTAKES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    # What is named is not there, or is something else.
    "no such folder": (["fotos"], ("SOURCE fotos: does not exist", "give a folder")),
    "a picture": (["photos/one.png"], ("photos/one.png: is not a folder", "give a folder")),
    "an empty folder": (["empty", "--prompt", PROMPT], ("empty: holds no pictures", ".png")),
    "no captions": (["photos"], ("one.png", "caption", "prompt")),
    "pictures that cannot be read": (["broken", "--prompt", PROMPT], ("torn.png", "words.jpg")),
    "pictures too small": (["small", "--prompt", PROMPT], ("tiny.png (8x8", "data.upscale = true")),
    "no such base": ([*OWN, "--base", "bse"], ('base "bse": there is no such file', "diffusers folder")),
    "a pickled base": ([*OWN, "--base", "model.ckpt"], ("model.ckpt: is no safetensors file", "onvert")),
    "a damaged base": ([*OWN, "--base", "model.safetensors"], ("model.safetensors", "again")),
    "a hub id without a network": ([*OWN, "--base", "no/where"], ('"no/where"', "Connect once to fetch it")),
    "a base without a part": ([*OWN, "--base", "partial"], ("partial: has no folder unet", "again")),
    "a base of mixed parts": ([*OWN, "--base", "mixed"], ("32 features a token, and its text has 40", "own parts")),
    "a base of a foreign family": ([*OWN, "--base", "flux"], ("FluxPipeline", "StableDiffusionPipeline")),
    "a folder that is no base": ([*OWN, "--base", "photos"], ("photos: has no model_index.json", "Give a folder")),
    "no such autoencoder": ([*OWN, "--set", "model.vae=none"], ('vae "none": is no folder', "hub id")),
    # What is written into files.
    "no such file": (["run.toml"], ("run.toml: there is no such file", "maquette init")),
    "TOML that is none": (["wrong.toml"], ("wrong.toml", "line 2")),
    "a section that is none": (["typo.toml"], ("typo.toml:3: trainig", "training")),
    "no such preset": ([*OWN, "--preset", "sd1-subject"], ('no preset "sd1-subject"', "Did you mean")),
    # Values.
    "a word for a number": ([*OWN, "--set", "training.steps=many"], ("--set training.steps", "whole number")),
    "a negative seed": ([*OWN, "--set", "training.seed=-1"], ("training.seed = -1", "at least 0")),
    "a resolution between": ([*OWN, "--set", "data.resolution=500"], ("data.resolution = 500", "multiple of 8")),
    "a size between": (
        [*OWN, "--set", "data.size=[20, 16]", "--set", "data.buckets=false"],
        ("data.size", "multiples of 8"),
    ),
    "no such key": ([*OWN, "--set", "training.epochs=3"], ("training.epochs is not a known key", "training.steps")),
    "half a setting": ([*OWN, "--set", "adapter.rank"], ("--set adapter.rank", "section.key=value")),
    "a setting twice": ([*OWN, "--set", "adapter.rank=2", "--set", "adapter.rank=3"], ("is given twice", "once")),
    "no such sampler": ([*OWN, "--set", "preview.scheduler=eular"], ("preview.scheduler", '"euler"')),
    "no such GPU": ([*OWN, "--device", "cuda"], ('device = "cuda"', "There are:")),
    # Settings that do not go together, with each other or with the base.
    "half precision on a CPU": ([*OWN, "--device", "cpu", "--set", "model.precision=fp16"], ("fp16", '"bf16"')),
    "a trigger that no prompt has": ([*OWN, "--set", "data.trigger=zwx"], ("data.trigger", "[trigger]")),
    "a prompt without its trigger": (["photos", "--prompt", "a [trigger] dog"], ("data.trigger", "give one")),
    "unequal rates for Prodigy": (
        [*OWN, "--preset", "sdxl-style-lora", "--set", "text_encoder.train=lora", "--set", "text_encoder.lr=0.1"],
        ("Prodigy has one step size", "Remove text_encoder.lr"),
    ),
    "a rate for what is not trained": ([*OWN, "--set", "text_encoder.lr=0.1"], ("has no effect", "remove it")),
    "a warm-up longer than the run": (
        [*OWN, "--set", "schedule.warmup_steps=9", "--set", "training.steps=5"],
        ("schedule.warmup_steps", "train longer"),
    ),
    "a sampler of another family": ([*OWN, "--set", "preview.scheduler=edm"], ('"edm" does not fit', "dpm++")),
    "layers that are not there": ([*OWN, "--set", 'adapter.targets=["to_z"]'], ('"to_z"', "adapter.targets")),
    "8 bits on a CPU": ([*OWN, "--set", "optimizer.kind=adamw8bit"], ("adamw8bit", 'optimizer.kind = "adamw"')),
    "a tracker that is missing": ([*OWN, "--set", 'logging.trackers=["mlflow"]'], ("mlflow", "pip install")),
    "one picture to hold out from": (
        ["one", "--prompt", PROMPT, "--set", "validation.every=1"],
        ("validation", "only one", "Add pictures"),
    ),
    "no masks": ([*OWN, "--set", "data.masks=label"], ("no picture has a mask", "Add them")),
    "class images of something else": (
        [*OWN, "--set", "class_images.folder=cats", "--set", "class_images.prompt=a dog"],
        ("cats: holds class images that were made for another prompt", "class-0000.png", "Name another"),
    ),
    "no such class folder": ([*OWN, "--set", "class_images.folder=dogs"], ("dogs: does not exist", "Give a folder")),
    "a weighting that is infinite here": (
        [*OWN, "--set", "loss.weighting.kind=debiased", "--base", "terminal"],
        ("loss.weighting is not finite", "choose one"),
    ),
    "noise levels of another base": (
        [*OWN, "--set", "loss.noise_levels.kind=karras", "--set", "loss.noise_levels.sigma_max=80"],
        ("loss.noise_levels.sigma_max is 80", "Give a number in between"),
    ),
    "a cap below every noise level": (
        [*OWN, "--base", "playground", "--set", "loss.weighting.kind=min_snr", "--set", "loss.weighting.gamma=4"],
        ("loss.weighting.gamma is 4", "give more"),
    ),
    # What scores along the way.
    "a scored prompt that asks for nothing": (
        [*OWN, "--base", "maquette-64", "--set", "evaluation.every=2", "--set", 'evaluation.prompts=["a cat at sea"]'],
        ("evaluation.prompts: 'a cat at sea'", "[trigger]"),
    ),
    "a network that is not there": (
        [*OWN, "--set", "evaluation.every=2", "--set", 'evaluation.networks.image="clip.safetensors"'],
        ('image = "clip.safetensors": there is no such file', "hub id"),
    ),
    # Adapters to go on from.
    "a pickled adapter that is torn": ([*OWN, "--set", "adapter.start_from=old.bin"], ("old.bin", "Get it again")),
    "an adapter that is torn": ([*OWN, "--set", "adapter.start_from=torn.safetensors"], ("torn.safetensors", "again")),
    "a file without an adapter": (
        [*OWN, "--set", "adapter.start_from=strange.safetensors"],
        ("strange.safetensors: 1 of 1 tensors fit no layer", "none of it is used"),
    ),
    # Places to write to.
    "a folder that is in use": ([*OWN, "--out", "full"], ("full is not empty: it holds thesis.txt", "--out")),
    "a folder inside a file": ([*OWN, "--out", "photos/one.png/run"], ("photos/one.png/run", "Name another")),
    "a folder that nobody may write": ([*OWN, "--out", "/proc/run"], ("/proc/run", "Name another")),
    "no run to resume": (["--resume", "--out", "empty"], ("empty", "no such file")),
}


FOUND_BY_DOING = {"a folder that nobody may write", "no run to resume"}
"""Whether a system that denies nothing makes a folder is known once it is asked; and no plan goes on with a run."""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_paragraph(name: str, here: Path, capsys: pytest.CaptureFixture[str]):
    arguments, words = MISTAKES[name]
    if "terminal" in arguments:
        base = Path(shutil.copytree("base", "terminal"))
        file = base / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "rescale_betas_zero_snr": True}))
    quick = [f"--set={part}" for part in sets({"logging.trackers": [], "training.steps": 3})]
    given = "".join(arguments)
    quick = [part for part in quick if part.removeprefix("--set=").split("=")[0] not in given]
    base = [] if "--base" in arguments or "--resume" in arguments else ["--base", "base"]
    where = [] if "--out" in arguments else ["--out", "out"]
    command = [*arguments, *base, *where, *([] if "--resume" in arguments else quick)]
    for program in ["train"] if name in FOUND_BY_DOING else ["train", "plan"]:
        said = told([program, *command], capsys)
        assert [word for word in words if word not in said] == [], said
    assert not list((here / "out").glob("checkpoints/*"))
    assert Path("full/thesis.txt").read_text() == "mine"


def test_an_adapter_of_another_base_is_refused(here: Path, bases: Bases, capsys: pytest.CaptureFixture[str]):
    run = train(Path("photos"), bases("sdxl"), Path("big"), training__steps=1)
    file = run.export / "big.safetensors"
    for command in (
        ["train", *OWN, "--base", "base", "--out", "out", "--set", f"adapter.start_from={file}"],
        ["generate", PROMPT, "--base", "base", "--adapter", file, "--out", "pictures"],
    ):
        said = told(command, capsys)
        assert "big.safetensors" in said
        assert "fit no layer of the base" in said
        assert "SDXL" in said or "sdxl" in said


def test_a_damaged_checkpoint_is_refused_with_the_way_out(here: Path, capsys: pytest.CaptureFixture[str]):
    run = train(Path("photos"), Path("base").resolve(), Path("out"), training__steps=2, checkpoints__every=1)
    newest = all_checkpoints(run.checkpoints)[-1]
    (newest / "optimizer.safetensors").write_bytes(b"")
    said = told(["train", "--resume", "--out", "out", "--set", "training.steps=3"], capsys)
    assert "optimizer.safetensors is not as it was written" in said
    assert "The newest intact one is" in said
    assert "step-00000001" in said


FILLS = [("lora", 0.1), ("lora", 2), ("lora", 6), ("lora", 20), ("full", 6), ("full", 60)]
"""From the first file of a run to those that it is for."""


@pytest.mark.parametrize(("kind", "kilobytes"), FILLS)
def test_a_disk_that_fills_up_is_told_wherever_it_happens(
    kind: str, kilobytes: float, here: Path, capsys: pytest.CaptureFixture[str]
):
    """A limit on the size of files stands in for it: the first file that is longer meets it."""
    settings = {**QUICK, "adapter.kind": kind, "training.steps": 1, "preview.every": 1}
    if kind == "full":
        del settings["adapter.rank"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    command = ["train", *OWN, "--base", "base", "--out", "out", *(f"--set={part}" for part in sets(settings))]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(kilobytes * 1000), hard))
    try:
        said = told(command, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written" in said
    assert "too large" in said  # what the system says of the limit, where it would say that the disk is full
    assert "oom" in said  # make room
    assert not list(Path("out").rglob("*.partial"))


def test_damage_by_a_picture_that_is_unreadable_later(here: Path, capsys: pytest.CaptureFixture[str]):
    Image.new("RGB", (24, 24)).save("photos/four.png")
    train(Path("photos"), Path("base").resolve(), Path("out"), training__steps=1)
    Path("photos/four.png").write_bytes(b"gone")
    said = told(["train", "--resume", "--out", "out", "--set", "training.steps=2"], capsys)
    assert "four.png" in said
