"""Unequal rates and a start from gradients fall faster at the same rate: at fixed noise, on the embedded base."""

from pathlib import Path

import pytest

from maquette.config.load import load_config
from maquette.embedded.folders import subject_pictures, write_folder
from maquette.runs.events import Scored, read_events
from maquette.training.session import run

WAYS = {
    "lora": [],
    "lora plus": ["adapter.lr_ratio.kind=fixed"],
    "lora ga": ["adapter.init.kind=lora_ga", "adapter.init.batches=8"],
}


@pytest.mark.timeout(400)
def test_the_loss_at_fixed_noise_falls_faster(tmp_path: Path) -> None:
    write_folder(subject_pictures(3, 5, seed=0, token="sks"), tmp_path / "photos")
    sets = [
        "preview.every=0",
        "evaluation.every=0",
        "logging.trackers=[]",
        "checkpoints.every=1000",
        "training.steps=30",
        "optimizer.lr=1e-4",
    ]
    sets += ["adapter.rank=8", "training.batch_size=4", "validation.hold_out=0.2", "validation.every=30"]
    after = {}
    for name, ways in WAYS.items():
        config = load_config(flags={"SOURCE": tmp_path / "photos"}, sets=[*sets, *ways])
        log = read_events(run(config, out=tmp_path / name).events)
        before, after[name] = (score.value for score in log.of(Scored))
    assert before - after["lora"] > 0
    assert before - after["lora plus"] > 1.25 * (before - after["lora"])
    assert before - after["lora ga"] > 1.25 * (before - after["lora"])
