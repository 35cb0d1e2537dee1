"""Pretraining that goes on from an earlier base: what it takes over, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maquette.embedded import models, pretrain, sittings
from maquette.embedded.publish import record
from maquette.errors import ConfigError
from maquette.families.load import EMBEDDED

SHIPPED = EMBEDDED["maquette-64"]


def test_a_sitting_starts_from_the_earlier_base_with_draws_of_its_own(tmp_path: Path) -> None:
    sittings.begin_from("maquette-64", tmp_path)
    sittings.begin_from("maquette-64", tmp_path)  # asked again after an interruption
    vae = pretrain.load_autoencoder(tmp_path).state_dict()
    shipped = load_file(SHIPPED / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(vae[name], shipped[name].float()) for name in shipped)
    before = json.loads((SHIPPED / "training.json").read_text("utf-8"))
    assert record(tmp_path)["before"] == before
    assert sittings.seed_of_sitting(2, tmp_path) > sittings.seed_of_sitting(2, tmp_path / "nothing") == 2


def test_the_denoiser_of_a_sitting_begins_where_the_earlier_one_ended(tmp_path: Path) -> None:
    sittings.begin_from("maquette-64", tmp_path)
    mean = torch.zeros(4, models.LATENTS, 16, 16).half()
    pretrain.write_tensors(tmp_path / "latents.safetensors", {"mean": mean, "std": mean})
    part = pretrain.Part(steps=1, batch_size=2, lr=1e-12, seed=2)
    list(pretrain.train_denoiser(tmp_path, part))
    trained = load_file(tmp_path / "denoiser.safetensors")
    shipped = load_file(SHIPPED / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in shipped.items():
        torch.testing.assert_close(trained[f"weights/denoiser.{name}"], value.float(), rtol=0, atol=1e-6)


def test_what_cannot_be_gone_on_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no base made by .* it has no training\.json"):
        sittings.begin_from(str(tmp_path), tmp_path)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "autoencoder.safetensors").touch()
    with pytest.raises(ConfigError, match="has begun from nothing"):
        sittings.begin_from("maquette-64", begun)
    other = tmp_path / "other"
    (other / "start").mkdir(parents=True)
    (other / "start" / "training.json").write_text("{}")
    with pytest.raises(ConfigError, match="started from another base"):
        sittings.begin_from("maquette-64", other)
