"""The models that pretraining makes: what is published of them, and what the command refuses."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.contract import tiny

from maquette.cli.pretrain import pretrain as command
from maquette.embedded import publish
from maquette.embedded.pretrain import Part
from maquette.errors import ConfigError
from maquette.families.load import EMBEDDED, load_family

PART = Part(steps=7, batch_size=2, lr=1e-3, seed=5)


def halves() -> publish.Model:
    """A model of two folders that starts from the embedded base and keeps its files in a folder of its own."""
    return publish.Model(
        parts={},
        sizes={"denoiser": PART},
        assemble=lambda _work: {"decoder": tiny.sd1(), "prior": tiny.sdxl()},
        files="own",
        start="maquette-64",
    )


def test_a_model_of_several_folders_is_published_in_fp16_with_a_record_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "MODELS", {"halves": halves()})
    publish.publish("halves", tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["decoder", "prior", "training.json"]
    assert [load_family(tmp_path / "out" / name).name for name in ("decoder", "prior")] == ["sd", "sdxl"]
    saved = load_file(tmp_path / "out" / "decoder" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float16}
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["model"] == "halves"
    assert record["parts"]["denoiser"] == {
        "steps": 7, "batch_size": 2, "lr": 1e-3, "seed": 5, "steps_done": 0, "hours": 0.0
    }  # fmt: skip
    assert record["before"] == json.loads((EMBEDDED["maquette-64"] / "training.json").read_text())
    with pytest.raises(ConfigError, match="exists already"):
        publish.publish("halves", tmp_path, tmp_path / "out")


def test_the_command_refuses_what_a_model_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "MODELS", {**publish.MODELS, "halves": halves()})
    with pytest.raises(ConfigError, match=r"--model maquette-63: .* The models are maquette-64,"):
        command(tmp_path / "work", model="maquette-63")
    with pytest.raises(ConfigError, match=r"--part painter: maquette-64 has no such part. Its parts are pictures, "):
        command(tmp_path / "work", part=["denoiser", "painter"])
    with pytest.raises(ConfigError, match="--start-from old: halves always starts from maquette-64"):
        command(tmp_path / "work", model="halves", start_from="old")
    assert not (tmp_path / "work").exists()
