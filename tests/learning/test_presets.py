"""Every recipe trains on the tiny base of its family: with its own settings, but what a tiny base cannot follow."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.learning.small import PROMPT, events, paint, sets

from maquette.config.load import load_config
from maquette.config.presets import preset_names
from maquette.runs.events import Finished, Previewed, Step
from maquette.training.session import run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

BASES = {
    "maquette64": "sd1",
    "sd1": "sd1",
    "sd2": "sd2-v",
    "sdxl": "sdxl",
    "playground": "playground",
    "kandinsky22decoder": "kandinsky-decoder",
    "kandinsky22prior": "kandinsky-prior",
}
BESIDE = {"vae": ("sdxl", "vae"), "prior": ("kandinsky-prior",), "decoder": ("kandinsky-decoder",)}
"""What a recipe may name beside its base."""
TINY = {"training.steps": 2, "schedule.warmup_steps": 0, "preview.steps": 2, "logging.trackers": []}


def folders(root: Path) -> Path:
    """A pack of two concepts."""
    for concept in ("sks", "dog"):
        paint(root / concept, (f"{concept} one", f"{concept} two"), (64, 64))
    return root


@pytest.mark.parametrize("name", preset_names())
def test_a_recipe_starts_and_ends(name: str, bases: Callable[[str], Path], tmp_path: Path):
    preset = load_config(preset=name)
    settings = dict(TINY)
    photos, prompt = (paint(tmp_path / "photos", ("one", "two", "three"), (64, 64)), PROMPT)
    if preset.pack is not None:
        photos, prompt = folders(tmp_path / "folders"), "a photo of [trigger]"
        settings |= {} if preset.is_bank else {"training.steps": "auto", "pack.steps_per_concept": 1}
    # What depends on the size of the base, on the network, or on a GPU; everything else is the recipe's own.
    if preset.data.resolution is not None:
        settings["data.resolution"] = 64
    if preset.class_images is not None:
        settings |= {"class_images.count": 2, "class_images.steps": 2}
    if preset.optimizer.kind == "adamw8bit":
        settings |= {"optimizer.kind": "adamw"}
    if preset.adapter.kind == "lora" and preset.adapter.init.kind != "gaussian":
        settings |= {"adapter.rank": 2}
        if preset.adapter.init.kind in ("lora_ga", "eva"):
            settings |= {"adapter.init.batches": 2}
    for part, folder in BESIDE.items():
        if getattr(preset.model, part) is not None:
            settings[f"model.{part}"] = str(bases(folder[0]).joinpath(*folder[1:]))
    if preset.tokens is not None and preset.pack is None:
        prompt = PROMPT.replace("sks", "TOK")
        settings |= {"tokens.words": {"TOK": "dog"}} if preset.tokens.init == "word" else {}  # few words are whole here
    flags = {"SOURCE": photos, "--prompt": prompt, "--base": bases(BASES[name.split("-")[0]])}
    config = load_config(preset=name, flags=flags, sets=sets(settings))
    log = events(run(config, out=tmp_path / "run"))
    assert [event.step for event in log.of(Finished)] == [2]
    assert all(0 < event.loss < 100 for event in log.of(Step))
    assert {event.step for event in log.of(Previewed)} == {0, 2}
