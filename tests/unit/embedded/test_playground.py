"""playground-64: a start that is the base in other modules, latents of the right scale, a folder that others open."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableDiffusionXLPipeline
from safetensors.torch import load_file

from maquette.diffusion.level import Level
from maquette.embedded import denoising, playground, playground_start, pretrain, publish
from maquette.embedded.autoencoding import to_pixels
from maquette.embedded.render import render
from maquette.embedded.scene import scene_at
from maquette.embedded.sittings import embedded_base
from maquette.embedded.stage import run_stage
from maquette.errors import CheckpointError
from maquette.families.load import EMBEDDED, load_family
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.generation.sample import Request, painter
from maquette.types import ImageCode

CHANNELS, PICTURES = 14, 8
TEXTS = ("a photo of a red mug on the beach", "", "an ink sketch of a blue dog, at night")
SIGMAS = torch.tensor([0.02, 0.3, 8.0])
PART = pretrain.Part(steps=3, batch_size=2, lr=1e-4, seed=4)


@pytest.fixture(scope="module")
def base() -> StableDiffusion:
    return embedded_base("maquette-64")


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    scenes = [np.asarray(render(scene_at(key, "train"))) for key in range(PICTURES)]
    return np.ascontiguousarray(np.stack(scenes).transpose(0, 3, 1, 2))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, bank: np.ndarray) -> Path:
    """A work folder whose latents are those of a few pictures."""
    folder = tmp_path_factory.mktemp("pretraining")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(playground, "open_bank", lambda *_: bank)
        list(playground.encode(folder))
    return folder


def fresh(base: StableDiffusion) -> StableDiffusionXL:
    return playground_start.new_playground(base, seed=0)


@torch.no_grad()
def test_the_start_is_the_base_in_other_modules(base: StableDiffusion) -> None:
    family, rng = fresh(base), torch.Generator().manual_seed(0)
    cond, before = family.embed_text(family.tokenize(TEXTS)), base.embed_text(base.tokenize(TEXTS))
    with_norm, without = cond["context"].chunk(2, dim=-1)
    torch.testing.assert_close(with_norm - without, before["context"], rtol=0, atol=1e-5)
    ids = base.tokenize(TEXTS)["text_encoder"]
    torch.testing.assert_close(cond["pooled"], base.text_encoder(ids).pooler_output, rtol=0, atol=1e-5)
    x = torch.randn(len(TEXTS), CHANNELS, 16, 16, generator=rng)
    told = cond | {"time_ids": 999 * torch.rand(len(TEXTS), 6, generator=rng)}
    t, before_t = family.diffusion.path.at(SIGMAS).t, base.diffusion.path.at(2 * SIGMAS).t
    expected = -base.predict(x, before_t, before)
    output = family.predict(x, t, told)
    assert (output - expected).square().mean() < 1e-3 * expected.square().mean()  # but for the embedding of time
    family.unet.time_embedding = base.unet.time_embedding
    torch.testing.assert_close(family.predict(x, before_t, told), expected, rtol=0, atol=1e-4)


def test_the_start_is_given_what_the_base_was_given_and_hears_of_the_same_noise(base: StableDiffusion) -> None:
    diffusion, rng = fresh(base).diffusion, torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 400, CHANNELS, 1, 1, generator=rng).unbind()
    sigma = diffusion.path(torch.rand(400, generator=rng)).sigma.clamp(0.015, 7)  # what the base's table knows
    level, before = diffusion.path.at(sigma), base.diffusion.path.at(2 * sigma)
    c_in = diffusion.parametrization(level).c_in.view(-1, 1, 1, 1)
    torch.testing.assert_close(c_in * level.noised(0.5 * x0, eps), before.noised(x0, eps), rtol=0, atol=1e-4)
    unet = fresh(base).unet
    with torch.no_grad():
        told, meant = (net.time_embedding(net.time_proj(at.t)) for net, at in ((unet, level), (base.unet, before)))
    assert (told - meant).square().sum() < 0.02 * (meant - meant.mean(0)).square().sum()


def test_latents_are_those_of_the_model_itself_half_as_large_as_the_base_has_them(
    work: Path, bank: np.ndarray, base: StableDiffusion
) -> None:
    saved = load_file(work / playground.FILES / "latents.safetensors")
    pixels, geometry = to_pixels(bank), torch.zeros(PICTURES, 6, dtype=torch.long)
    for code, scale in ((fresh(base).encode_images(pixels, geometry), 1), (base.encode_images(pixels, geometry), 0.5)):
        torch.testing.assert_close(saved["mean"].float(), code.mean * scale, rtol=2e-3, atol=2e-3)  # saved in fp16
        torch.testing.assert_close(saved["std"].float(), code.std * scale, rtol=1e-2, atol=1e-4)


def test_a_part_that_stops_and_goes_on_ends_where_the_whole_one_does(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "run_stage", functools.partial(run_stage, save_every=2))
    ends = []
    for name, stops in (("whole", [None]), ("parts", [2, None])):
        files = tmp_path / name / playground.FILES
        files.mkdir(parents=True)
        (files / "latents.safetensors").symlink_to(work / playground.FILES / "latents.safetensors")
        for stop in stops:
            ticks = playground.train_denoiser(tmp_path / name, PART)
            next(tick for tick in ticks if tick.done == (stop or PART.steps))
            ticks.close()
        ends.append(load_file(files / "denoiser.safetensors"))
    whole, parts = ends
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert {name.split("/")[1].split(".")[0] for name in whole if name.startswith("weights/")} == {"denoiser"}


def test_the_folder_is_a_playground_that_diffusers_draws_the_same_with(work: Path, tmp_path: Path) -> None:
    next(playground.train_denoiser(work, pretrain.Part(steps=1, batch_size=2, lr=1e-4, seed=4)))
    publish.publish("playground-64", work, tmp_path / "out")
    family = load_family(tmp_path / "out")
    assert isinstance(family, StableDiffusionXL)
    assert (family.default_size, family.zero_negative) == ((64, 64), False)
    affine = family.diffusion.parametrization(Level(SIGMAS, torch.ones(3), SIGMAS))
    torch.testing.assert_close(affine.c_skip, 0.25 / (SIGMAS**2 + 0.25))  # Karras et al. 2022, table 1
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "out", add_watermarker=False, dtype=torch.float32)
    assert isinstance(pipeline.scheduler, EDMDPMSolverMultistepScheduler)
    pipeline.set_progress_bar_config(disable=True)
    rng = torch.Generator().manual_seed(7)
    theirs = pipeline(TEXTS[0], generator=rng, num_inference_steps=3, guidance_scale=3.0, output_type="np").images[0]
    with painter(family) as paint:
        ours = paint(Request(prompt=TEXTS[0], seed=7, steps=3, guidance=3.0))
    assert np.abs(theirs * 255 - ours.permute(1, 2, 0).numpy()).max() <= 1
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["model"], record["parts"]["denoiser"]["steps_done"]) == ("playground-64", 1)
    assert record["before"] == json.loads((EMBEDDED["maquette-64"] / "training.json").read_text())


def test_sizes_that_are_told_go_with_their_pictures() -> None:
    sizes = playground.any_sizes(6, seed=1)
    assert sizes.shape == (6, 6)
    assert sizes[:, :2].min() >= 64
    assert torch.equal(sizes[:, 4:], torch.full((6, 2), 64.0))
    codes = ImageCode(torch.zeros(6, 1, 2, 2).half(), torch.zeros(6, 1, 2, 2).half(), {"time_ids": sizes})
    batches = denoising.captioned_batches(codes, lambda _: {}, 3, seed=1)
    shown = torch.cat([batches(step)[0].code.cond["time_ids"] for step in range(2)])
    assert not torch.equal(shown, sizes)
    assert torch.equal(shown.sort(0).values, sizes.sort(0).values)


def test_a_part_that_others_need_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"latents\.safetensors: not there yet"):
        next(playground.train_denoiser(tmp_path, PART))
    with pytest.raises(CheckpointError, match=r"denoiser\.safetensors: not there yet"):
        publish.publish("playground-64", tmp_path, tmp_path / "out")
