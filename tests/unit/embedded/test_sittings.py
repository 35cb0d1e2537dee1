"""Pretraining that goes on from an earlier base: what it takes over, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maquette.embedded import models, pretrain, sittings
from maquette.embedded.publish import record
from maquette.errors import ConfigError
from maquette.families.folder import save_folder

EARLIER = {"pictures": 8, "before": None}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base as an earlier sitting would have published it."""
    folder = tmp_path_factory.mktemp("bases") / "earlier"
    save_folder(pretrain.new_base(models.new_autoencoder(8), 9), folder)
    (folder / "training.json").write_text(json.dumps(EARLIER))
    return folder


def test_a_sitting_starts_from_the_earlier_base_with_draws_of_its_own(earlier: Path, tmp_path: Path) -> None:
    sittings.begin_from(str(earlier), tmp_path)
    sittings.begin_from(str(earlier), tmp_path)  # asked again after an interruption
    vae = pretrain.load_autoencoder(tmp_path).state_dict()
    before = load_file(earlier / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(vae[name], before[name]) for name in before)
    assert record("maquette-64", tmp_path)["before"] == EARLIER
    assert sittings.seed_of_sitting(2, tmp_path) > sittings.seed_of_sitting(2, tmp_path / "nothing") == 2


def test_the_denoiser_of_a_sitting_begins_where_the_earlier_one_ended(earlier: Path, tmp_path: Path) -> None:
    sittings.begin_from(str(earlier), tmp_path)
    mean = torch.zeros(4, models.LATENTS, 16, 16).half()
    pretrain.write_tensors(tmp_path / "latents.safetensors", {"mean": mean, "std": mean.clone()})
    part = pretrain.Part(steps=1, batch_size=2, lr=1e-12, seed=2)
    list(pretrain.train_denoiser(tmp_path, part))
    trained = load_file(tmp_path / "denoiser.safetensors")
    before = load_file(earlier / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in before.items():
        torch.testing.assert_close(trained[f"weights/denoiser.{name}"], value, rtol=0, atol=1e-6)


def test_what_cannot_be_gone_on_from_is_refused(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no base made by .* it has no training\.json"):
        sittings.begin_from(str(tmp_path), tmp_path)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "autoencoder.safetensors").touch()
    with pytest.raises(ConfigError, match="has begun from nothing"):
        sittings.begin_from(str(earlier), begun)
    other = tmp_path / "other"
    (other / "start").mkdir(parents=True)
    (other / "start" / "training.json").write_text("{}")
    with pytest.raises(ConfigError, match="started from another base"):
        sittings.begin_from(str(earlier), other)


def test_a_base_with_other_latents_lends_all_that_does_not_touch_them(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "LATENTS", models.LATENTS + 2)
    sittings.begin_from(str(earlier), tmp_path)
    before = sittings.earlier_base(tmp_path)
    assert before is not None
    unet, lent = models.new_denoiser(0), before.unet.state_dict()
    sittings.carry_over(unet, before.unet)
    same = {name for name, value in unet.state_dict().items() if torch.equal(value, lent[name])}
    assert set(unet.state_dict()) - same == {"conv_in.weight", "conv_out.weight", "conv_out.bias"}
