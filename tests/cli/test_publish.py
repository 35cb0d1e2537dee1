"""`maquette publish` and `train --push-to-hub`: what is uploaded and what is not, against a hub on this machine."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors.numpy import load
from tests.cli.hub import Hub, serving
from tests.unit.report.sample_run import HOME, write_run

import maquette
from maquette.cli.app import main
from maquette.config.load import load_config
from maquette.errors import CheckpointError
from maquette.report.publish import files_of, publish
from maquette.report.read import read_facts


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    with serving(hub):
        yield hub


def command(hub: Hub, home: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which reaches the stand-in and nothing else."""
    settings = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))},
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_example",
        "PYTHONPATH": str(Path(maquette.__file__).parent.parent),
        **environment,
    }
    line = [sys.executable, "-m", "maquette", *map(str, arguments)]
    return subprocess.run(line, env=settings, capture_output=True, text=True, check=False)


def test_a_finished_run_is_published_with_its_card_and_nothing_private(hub, tmp_path):
    run = write_run(tmp_path / "mug")
    (run.checkpoints / "step-00000040").mkdir(parents=True)
    (run.checkpoints / "step-00000040" / "optimizer.safetensors").write_bytes(b"moments")
    (run.root / "cache").mkdir()
    (run.root / "cache" / "entry.safetensors").write_bytes(b"codes")
    (run.export / "steps").mkdir()
    (run.export / "steps" / "mug-step00000020.safetensors").write_bytes(b"early")

    done = command(hub, tmp_path / "hf", "publish", run.root, "dog")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Published: {hub.address}/alice/dog\n"
    [created] = hub.created
    assert (created["organization"], created["name"], created["visibility"]) == ("alice", "dog", "private")
    previews = {f"previews/step-000040-prompt-0{i}-seed-0.png" for i in range(2)}
    assert hub.files.keys() == {
        "README.md",
        "config.toml",
        "mug.safetensors",
        "pytorch_lora_weights.safetensors",
        *previews,
        *(f"pictures/000{i}.png" for i in range(3)),
    }
    assert load(hub.files["mug.safetensors"])["lora_unet_x.lora_down.weight"].shape == (8, 8)
    assert not [path for path, content in hub.files.items() if HOME.encode() in content]
    for path in previews:
        with Image.open(io.BytesIO(hub.files[path])) as shown, Image.open(run.root / path) as made:
            assert shown.info == {}
            assert shown.convert("RGB").tobytes() == made.convert("RGB").tobytes()

    card = hub.files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    shown = [entry["output"]["url"] for entry in front["widget"]]
    assert set(shown) == previews
    assert front["license"] == "apache-2.0"
    assert 'load_lora_weights("alice/dog", weight_name="pytorch_lora_weights.safetensors")' in card
    (tmp_path / "config.toml").write_bytes(hub.files["config.toml"])
    assert load_config(tmp_path / "config.toml").adapter == load_config(run.config).adapter


def test_training_pictures_go_only_where_they_are_shown(tmp_path):
    run = write_run(tmp_path / "mug", "output.thumbnails=false")
    files = files_of(run, read_facts(run), "alice/dog")
    assert not [path for path in files if path.startswith("pictures/")]
    assert b"pictures/" not in files["README.md"]


@pytest.mark.parametrize(
    ("name", "role", "environment", "told"),
    [
        ("dog", "read", {}, "The token of alice may only read. Log in with `hf auth login`"),
        ("bob/dog", "write", {}, '"bob/dog": alice may not write there. Possible owners: alice, studio.'),
        ("dog", "write", {"HF_TOKEN": ""}, "Publishing needs a login, and there is none on this machine."),
        ("dog", "write", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "The hub cannot be reached"),
    ],
)
def test_what_stands_in_the_way_is_told_before_the_training_starts(name, role, environment, told, hub, tmp_path):
    """In `publish`, which asks the same way; one of them through `train`, below."""
    run = write_run(tmp_path / "mug")
    hub.role = role
    done = command(hub, tmp_path / "hf", "publish", run.root, name, **environment)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not hub.files
    assert not hub.created


@pytest.mark.parametrize(
    ("name", "told"), [("dog", "HF_HUB_OFFLINE is set. Unset it."), ("a//b", "is no name of a repository")]
)
def test_training_asks_for_the_login_first(name, told, tmp_path, capsys, monkeypatch):
    """Offline, as all tests are: no picture is read and no folder made."""
    monkeypatch.setenv("HF_TOKEN", "hf_example")
    (tmp_path / "photos").mkdir()
    assert main(["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--push-to-hub", name]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_is_not_published(tmp_path):
    run = write_run(tmp_path / "mug", last=20)
    with pytest.raises(CheckpointError, match=r"is not finished \(step 20 of 40\)"):
        publish(run, "alice/dog")


def test_a_whole_model_lies_at_the_top(tmp_path):
    run = write_run(tmp_path / "mug", 'adapter={kind="full"}', last=40)
    for file in run.export.iterdir():
        file.unlink()
    (run.export / "model" / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json"):
        (run.export / "model" / name).write_text("{}")
    files = files_of(run, read_facts(run), "alice/dog")
    assert {"model_index.json", "unet/config.json", "README.md"} <= files.keys()
    assert b'model = "alice/dog"' in files["README.md"]
