"""Several runs with one command: Kandinsky's two halves one after the other, as the manual has it."""

import pytest
from PIL import Image
from safetensors.torch import load_file
from tests.learning.small import PROMPT, maquette, paint, sets

from maquette.config.load import load_config
from maquette.runs.rundir import RunDir

# diffusers' samplers hand torch's tensors to numpy in a way that numpy 2 will no longer take.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

PRIOR, DECODER = "kandinsky22prior-style-lora", "kandinsky22decoder-style-lora"

SHORT = {
    "data.resolution": 64,
    "data.upscale": True,
    "optimizer.lr": 0.1,
    "training.gradient_accumulation": 1,
    "preview.every": 0,
    "logging.trackers": [],
}


@pytest.fixture
def photos(tmp_path):
    return paint(tmp_path / "photos")


def short(steps):
    return [f"--set={part}" for part in sets({**SHORT, "training.steps": steps})]


def made(out, *flags):
    """The bytes of the one picture that `maquette generate` makes."""
    asked = ["--steps", 2, "--prior-steps", 2, "--height", 16, "--width", 16, "--device", "cpu"]
    assert maquette("generate", PROMPT, *flags, *asked, "--out", out) == 0
    [picture] = [path for path in out.glob("*.png") if path.name != "grid.png"]
    return Image.open(picture).tobytes()


def test_two_presets_train_both_halves_and_pictures_are_made_with_both(photos, bases, tmp_path, monkeypatch):
    hub = {f"kandinsky-community/kandinsky-2-2-{half}": bases(f"kandinsky-{half}") for half in ("prior", "decoder")}
    for fetch in ("fetch_model", "fetch_configs"):
        monkeypatch.setattr(f"maquette.families.hub.{fetch}", lambda name, *_: hub[name])
    presets = ["--preset", PRIOR, "--preset", DECODER]
    assert maquette("train", photos, "--prompt", PROMPT, *presets, *short(2), "--out", tmp_path / "dragon") == 0
    meant, drawn = (RunDir(tmp_path / "dragon" / name) for name in (PRIOR, DECODER))
    for run, half in ((meant, "prior"), (drawn, "unet")):
        names = load_file(run.export / "pytorch_lora_weights.safetensors")
        assert {name.partition(".")[0] for name in names} == {half}
        assert load_config(run.config).adapter.rank == 4  # the preset's
    adapters = ["--adapter", drawn.root], ["--adapter", meant.root]
    both, one = made(tmp_path / "both", *adapters[0], *adapters[1]), made(tmp_path / "one", *adapters[0])
    published = made(tmp_path / "none", "--base", bases("kandinsky-decoder"), "--prior", bases("kandinsky-prior"))
    assert len({both, one, published}) == 3


@pytest.fixture
def files(photos, bases, tmp_path, capsys):
    """Settings of both halves on this machine, as `maquette config` writes them."""
    prior, decoder = bases("kandinsky-prior"), bases("kandinsky-decoder")
    given = {
        "prior": ["--preset", PRIOR, "--base", prior, f"--set=model.decoder={decoder}", *short(3)],
        "decoder": ["--preset", DECODER, "--base", decoder, f"--set=model.prior={prior}", *short(4)],
    }
    for name, flags in given.items():
        capsys.readouterr()
        assert maquette("config", photos, "--prompt", PROMPT, "--set=checkpoints.every=2", *flags) == 0
        (tmp_path / f"{name}.toml").write_text(capsys.readouterr().out)
    return [tmp_path / f"{name}.toml" for name in given]


def test_two_runs_with_one_command_go_on_where_they_were_stopped(files, tmp_path, monkeypatch, capsys):
    out = tmp_path / "dog"
    kill = tmp_path / "stop"
    monkeypatch.setattr("maquette.training.session.wishes", lambda *_: ("a test" if kill.exists() else None, set()))
    kill.touch()
    assert maquette("train", *files, "--out", out) == 130
    assert f"maquette train --resume --out {out}" in " ".join(capsys.readouterr().err.split())
    assert not (out / "decoder").exists()
    kill.unlink()
    assert maquette("train", "--resume", "--out", out) == 0
    for name, steps in (("prior", 3), ("decoder", 4)):
        assert (out / name / "export" / "pytorch_lora_weights.safetensors").exists()
        assert load_config(out / name / "config.toml").training.steps == steps
    before = (out / "prior" / "events.jsonl").read_bytes()
    assert maquette("train", "--resume", "--out", out) == 0  # nothing is left to do
    assert (out / "prior" / "events.jsonl").read_bytes() == before


def test_a_mistake_in_the_last_of_several_runs_is_told_before_the_first_one_starts(files, bases, tmp_path, capsys):
    decoder = files[1].read_text()
    files[1].write_text(decoder.replace(str(bases("kandinsky-decoder")), str(tmp_path / "nowhere")))
    assert maquette("train", *files, "--out", tmp_path / "dog") == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "dog").exists()
    assert maquette("train", *files, "--base", "x", "--push-to-hub", "y") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert all(flag in said for flag in ("--out:", "--base:", "--push-to-hub:", "`maquette publish RUN NAME`"))
    assert maquette("train", *files, "--out", "runs/dog", "--push-to-hub", "y") == 2
    assert "`maquette publish runs/dog/RUN NAME`" in " ".join(capsys.readouterr().err.split())
