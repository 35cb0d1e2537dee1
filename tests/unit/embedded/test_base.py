"""The base model in the package: an ordinary diffusers folder, small, and able to draw what it is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import maquette.embedded
import maquette.evaluation
from maquette.embedded.autoencoding import psnr, to_pixels
from maquette.embedded.render import render
from maquette.embedded.scene import scene_at
from maquette.embedded.scoring import score_prompts, share_right
from maquette.evaluation.judges import load_judge
from maquette.families.load import EMBEDDED, load_family
from maquette.families.sd import StableDiffusion
from maquette.generation.sample import Request, painter

MEGABYTES = 30


@pytest.fixture(scope="module")
def base() -> StableDiffusion:
    family = load_family("maquette-64")
    assert isinstance(family, StableDiffusion)
    return family


def test_diffusers_opens_it_as_any_stable_diffusion(base: StableDiffusion) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED["maquette-64"], safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    for name, module in (("unet", base.unet), ("vae", base.vae), ("text_encoder", base.text_encoder)):
        theirs = getattr(pipeline, name).state_dict()
        assert all(torch.equal(theirs[key], value) for key, value in module.state_dict().items())


def test_all_weights_of_the_package_are_small_and_safe() -> None:
    folders = [Path(module.__path__[0]) / "weights" for module in (maquette.embedded, maquette.evaluation)]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".txt"}
    assert sum(file.stat().st_size for file in files) < MEGABYTES * 2**20


def test_the_record_of_its_making_says_what_was_done() -> None:
    record = json.loads((EMBEDDED["maquette-64"] / "training.json").read_text())
    assert record["parts"]["denoiser"]["steps_done"] == record["parts"]["denoiser"]["steps"]
    assert {"commit", "versions", "pictures"} <= record.keys()


def test_latents_are_alike_in_spread_and_pictures_survive_them(base: StableDiffusion) -> None:
    images = torch.from_numpy(np.stack([np.asarray(render(scene_at(key, "test"))) for key in range(64)]))
    pixels = to_pixels(images.permute(0, 3, 1, 2).contiguous().numpy())
    code = base.encode_images(pixels, torch.zeros(64, 6, dtype=torch.long))
    torch.testing.assert_close(code.mean.std((0, 2, 3)), torch.ones(code.mean.shape[1]), rtol=0.15, atol=0)
    assert psnr(base.vae, pixels) > 22


def test_it_draws_what_it_is_asked_for(base: StableDiffusion) -> None:
    prompts = [
        f"a photo of a {colour} {kind} {place}"
        for colour, kind, place in (
            ("red", "mug", "on the beach"),
            ("blue", "car", "in the snow"),
            ("yellow", "house", "on the grass"),
            ("green", "fish", "at sea"),
            ("purple", "star", "at night"),
            ("orange", "boat", "in the desert"),
        )
    ]
    with painter(base) as paint:
        images = torch.stack([paint(Request(prompt=p, seed=s, guidance=5.0)) for p in prompts for s in range(2)])
    asked = [prompt for prompt in prompts for _ in range(2)]
    for name in ("judge", "verifier"):
        shares = share_right(score_prompts(load_judge(name), images, asked))
        # Floors, several times what chance gives; the bars, which it does not reach yet, are in benchmarks/base.py.
        assert shares["place"] >= 0.4
        assert shares["colour"] >= 0.3
