"""Runs of Kandinsky's decoder: what is left behind, and what diffusers makes of it."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import KandinskyV22Pipeline
from PIL import Image
from safetensors.torch import load_file
from tests.learning.small import PROMPT, events, maquette, paint, train

from maquette.errors import ConfigError
from maquette.runs.events import Previewed, Warned
from maquette.runs.rundir import RunDir

# diffusers' samplers hand torch's tensors to numpy in a way that numpy 2 will no longer take.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def learned(tmp_path, bases):
    """A run from a folder of pictures, by the name of its folder."""
    photos = paint(tmp_path / "photos")

    def run(out: str, **settings: object) -> RunDir:
        base, prior = bases("kandinsky-decoder"), str(bases("kandinsky-prior"))
        return train(photos, base, tmp_path / out, model__prior=prior, **settings)

    return run


def test_previews_are_what_generate_makes_of_the_run(learned, bases, tmp_path):
    run = learned("dog", training__steps=2, preview__every=2)
    log = events(run)
    assert sum("Captions and prompts are not learned" in event.message for event in log.of(Warned)) == 1
    first, last = log.of(Previewed)
    assert (first.step, last.step) == (0, 2)
    assert (run.root / first.path).read_bytes() != (run.root / last.path).read_bytes()

    asked = ["--steps", 2, "--guidance", 4, "--device", "cpu"]
    assert maquette("generate", PROMPT, "--adapter", run.root, "--out", tmp_path / "made", *asked) == 0
    halves = ["--base", bases("kandinsky-decoder"), "--prior", bases("kandinsky-prior"), "--adapter", run.export]
    assert maquette("generate", PROMPT, *halves, "--out", tmp_path / "by-name", *asked) == 0
    pixels = [Image.open(run.root / last.path).tobytes()]
    pixels += [Image.open(file).tobytes() for out in ("made", "by-name") for file in (tmp_path / out).glob("a-photo*")]
    assert len(pixels) == 3
    assert len(set(pixels)) == 1

    names = set(load_file(run.export / "pytorch_lora_weights.safetensors"))
    assert {re.sub(r".*attentions[.][0-9][.]|[.]lora_.*", "", name) for name in names} == {
        *("to_q", "to_k", "to_v", "add_k_proj", "add_v_proj", "to_out.0")
    }


def test_a_whole_decoder_with_its_average_goes_on_where_it_stopped(learned):
    settings = {"adapter__kind": "full", "training__ema": {"half_life_images": 2.0}, "checkpoints__every": 2}
    straight = learned("straight", training__steps=4, **settings)
    learned("parted", training__steps=2, **settings)
    parted = learned("parted", training__steps=4, resume=True, **settings)
    for folder in ("export", "export/raw"):
        one, other = (KandinskyV22Pipeline.from_pretrained(run.root / folder / "model") for run in (straight, parted))
        state = other.unet.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in one.unet.state_dict().items())
    average, raw = (weights(straight.root / folder) for folder in ("export", "export/raw"))
    assert any(not torch.equal(value, raw[name]) for name, value in average.items())


def weights(export: Path) -> dict[str, torch.Tensor]:
    return load_file(export / "model" / "unet" / "diffusion_pytorch_model.safetensors")


def test_what_asks_for_words_is_refused(learned):
    with pytest.raises(ConfigError, match=r"\[preservation\]: this base .* reads no captions"):
        learned("kept", preservation__class_prompt="a dog")
