"""Runs on tiny bases with special starts, unequal rates and output preservation: stopped, resumed, drawn again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.learning.small import PROMPT, events, maquette, paint, train

from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.errors import ConfigError
from maquette.families.load import load_family
from maquette.runs.events import Grouped, Step, Warned

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

EVERYTHING = {"adapter__targets": "attention+feed_forward+convolutions", "adapter__dropout": 0.1}
WAYS = {
    "lora_ga": {
        **EVERYTHING,
        "adapter__init": {"kind": "lora_ga", "batches": 3},
        "adapter__lr_ratio": {"kind": "adaptive"},
    },
    "pissa": {**EVERYTHING, "adapter__init": {"kind": "pissa"}, "training__ema": {"half_life_images": 3.0}},
    "olora": {"adapter__init": {"kind": "olora"}, "optimizer__kind": "prodigy", "optimizer__lr": 1.0},
    "eva": {"adapter__init": {"kind": "eva", "batches": 3}, "text_encoder__train": "lora", "adapter__kind": "dora"},
    "preservation": {
        "data__trigger": "sks",
        "preservation__class_prompt": "red",
        "training__gradient_accumulation": 2,
        "adapter__lr_ratio": {"kind": "fixed", "ratio": 4.0},
    },
    "preservation, text": {"preservation": {"class_prompt": "a photo of a dog"}, "text_encoder__train": "lora"},
}
BASES = {"lora_ga": "sdxl", "pissa": "sd2-v", "olora": "sd1", "eva": "sd2-v"}
BASES |= {"preservation": "sd2-v", "preservation, text": "sdxl"}


def files(run):
    return {path.name: load_file(path) for path in sorted(run.export.glob("*.safetensors"))}


@pytest.mark.parametrize("way", WAYS)
def test_stopping_and_going_on_changes_no_bit(way, bases, tmp_path):
    photos = paint(tmp_path / "photos", ("one", "two"))
    settings = {"training__steps": 4, "checkpoints__every": 2, **WAYS[way]}
    base = bases(BASES[way])
    whole = train(photos, base, tmp_path / "whole" / "dog", **settings)
    parted = train(photos, base, tmp_path / "parted" / "dog", **{**settings, "training__steps": 2})
    train(photos, base, parted.root, resume=True, **settings)
    ours, theirs = files(whole), files(parted)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[file][key]) for file in ours for key, value in ours[file].items())
    assert [event.loss for event in events(whole).of(Step)] == [event.loss for event in events(parted).of(Step)]
    assert (parted.start.read_bytes() if parted.start.exists() else b"") == (
        whole.start.read_bytes() if whole.start.exists() else b""
    )


def test_a_run_from_gradients_tells_of_its_start_and_is_drawn_as_it_was_previewed(bases, tmp_path):
    photos = paint(tmp_path / "photos", ("one", "two"))
    settings = {**WAYS["lora_ga"], "adapter__rank": 5, "preview__every": 2, "training__steps": 2}
    settings["adapter__init"] = {"kind": "lora_ga", "batches": 3, "narrow": "gaussian"}
    run = train(photos, bases("sdxl"), tmp_path / "dog", **settings)
    assert maquette("generate", PROMPT, "--adapter", run.root, "--steps", 2, "--out", tmp_path / "pictures") == 0
    [picture] = [path for path in (tmp_path / "pictures").glob("*.png") if path.name != "grid.png"]
    assert picture.read_bytes() == run.preview(2, 0, 0).read_bytes()
    delta = read_adapter(run.root, layout_of(load_family(bases("sdxl")).modules)).delta
    ranks = {at.path: update.factors.down.shape[0] for at, update in delta.items()}
    told = json.loads(run.start.read_text())
    assert {rank for path, rank in ranks.items() if f"denoiser.{path}" in told} == {10}
    assert {rank for path, rank in ranks.items() if f"denoiser.{path}" not in told} == {5}
    assert all(0 < layer["energy"] <= 1 + 1e-6 < 1 + layer["norm"] for layer in told.values())
    assert any("start as gaussian" in event.message for event in events(run).of(Warned))
    [grouped] = events(run).of(Grouped)
    assert sum(group.numbers for group in grouped.groups) > 0
    assert len(grouped.groups) > 2
    page = run.report.read_text()
    assert all(f'<th scope="row">{group.name}</th>' in page for group in grouped.groups)
    assert "rank 5 (10 in its file)" in page
    assert "rank 5 (10 in its file)" in run.card.read_text()


def test_a_rank_that_no_start_fills_is_refused_before_anything_is_written(bases, tmp_path):
    photos = paint(tmp_path / "photos", ("one",))
    with pytest.raises(ConfigError, match="the rank is too high for"):
        train(photos, bases("sd1"), tmp_path / "dog", adapter__rank=16, adapter__init={"kind": "lora_ga"})
    assert not (tmp_path / "dog" / "config.toml").exists()


def test_previews_begin_with_the_base(bases, tmp_path):
    photos = paint(tmp_path / "photos", ("one",))
    first = [
        train(photos, bases("sd1"), tmp_path / name, preview__every=1, training__steps=1, **settings).preview(0, 0, 0)
        for name, settings in {"plain": {}, "ga": WAYS["lora_ga"], "pissa": WAYS["pissa"]}.items()
    ]
    plain, *others = (np.asarray(Image.open(path)).astype(int) for path in first)
    # an average of the weights must not replace their start either; sampling enlarges the last bit of a random base
    assert all(np.abs(other - plain).max() <= 2 for other in others)
