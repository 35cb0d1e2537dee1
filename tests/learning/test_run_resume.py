"""Runs that stop: killed, asked to stop, gone wrong; and what --resume makes of what they left."""

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.learning.small import PROMPT, QUICK, events, maquette, paint, sets, train, tree

from maquette.data.cache import Cache
from maquette.errors import CheckpointError, ConfigError, Interrupted, ModelError
from maquette.generation import class_images
from maquette.runs.events import Previewed, Saved, Started, Step
from maquette.runs.rundir import RunDir
from maquette.training import session
from maquette.training.checkpoint import all_checkpoints, checkpoint_path

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return paint(tmp_path / "photos")


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches kill -9."""


def killed_when_saving(step: int, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something that ends where the checkpoint of a step has just been written."""
    write = session.write_checkpoint

    def then_killed(folder, at, pieces):
        path = write(folder, at, pieces)
        if at == step:
            raise Killed
        return path

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_checkpoint", then_killed)
        with pytest.raises(Killed):
            do()


def exported(run: RunDir) -> dict[str, bytes]:
    return {name: data for name, data in tree(run.export).items() if name.endswith(".safetensors")}


SETTINGS = {
    "adamw": {"text_encoder__train": "lora", "text_encoder__stop": 0.75, "adapter__dropout": 0.2},
    "ema": {"training__ema": {"half_life_images": 3.0}, "training__gradient_accumulation": 2},
    "cosine": {"schedule__kind": "cosine", "schedule__warmup_steps": 1, "validation__every": 2},
    "prodigy": {"optimizer__kind": "prodigy", "optimizer__lr": 1.0, "adapter__kind": "dora"},
    "schedule_free": {"optimizer__kind": "schedule_free", "adapter__kind": "lokr"},
    "lion": {"optimizer__kind": "lion", "adapter__kind": "loha"},
    "adafactor": {"optimizer__kind": "adafactor", "data__crop": "random", "data__flip": True},
    "pivotal": {
        "data__prompt": "a photo of TOK dog",
        "data__captions__dropout": 0.3,
        "tokens": {"placeholders": {"TOK": 2}, "stop": 0.5, "retraction": 0.1},
        "optimizer__kind": "prodigy",
        "optimizer__lr": 1.0,
    },
    "inversion": {
        "data__prompt": "a photo of TOK dog",
        "adapter": {"kind": "none"},
        "adapter__rank": None,
        "tokens": {"placeholders": {"TOK": 2}},
        "training__ema": {"half_life_images": 3.0},
    },
    "full": {"adapter__kind": "full", "optimizer__lr": 1e-4, "text_encoder__train": "full"},
}


BASES = {"pivotal": "sdxl", "inversion": "sd2-v"}
"""Bases of the settings that are not tried on sd1."""


@pytest.mark.parametrize("name", SETTINGS)
def test_stopping_anywhere_and_going_on_changes_no_byte(name, photos, bases, tmp_path, monkeypatch):
    """Killed behind the second checkpoint, resumed, killed behind the third before it is logged, resumed to the end."""
    settings = {"training__steps": 4, "checkpoints__every": 1, "preview__every": 2, **SETTINGS[name]}
    base = bases(BASES.get(name, "sd1"))
    whole = train(photos, base, tmp_path / "whole" / "dog", **settings)
    out = tmp_path / "parts" / "dog"
    killed_when_saving(2, monkeypatch, lambda: train(photos, base, out, **settings))
    killed_when_saving(3, monkeypatch, lambda: train(photos, base, out, resume=True, **settings))
    torch.randn(3)
    parts = train(photos, base, out, resume=True, **settings)
    ours, theirs = exported(parts), exported(whole)
    assert ours.keys() == theirs.keys()
    for file in ours:
        one, other = load_file(parts.export / file), load_file(whole.export / file)
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []
    assert tree(parts.previews) == tree(whole.previews)
    # Told as one run: each step, checkpoint and preview once, with the same numbers.
    for kind in (Step, Saved, Previewed):
        told = [[(e.step, getattr(e, "loss", None)) for e in events(run).of(kind)] for run in (parts, whole)]
        assert told[0] == told[1]


def test_more_steps_may_be_asked_for(photos, bases, tmp_path):
    whole = train(photos, bases("sd1"), tmp_path / "whole" / "dog", training__steps=4)
    out = tmp_path / "parts" / "dog"
    train(photos, bases("sd1"), out, training__steps=2, logging__every=2)
    parts = train(photos, bases("sd1"), out, resume=True, training__steps=4, preview__every=4)
    one, other = (load_file(run.export / "dog.safetensors") for run in (parts, whole))
    assert all(torch.equal(one[key], other[key]) for key in other)
    assert [event.step for event in events(parts).of(Started)] == [0, 2]
    assert parts.preview(4, 0, 0).exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer__lr": 0.5}, "optimizer.lr: 0.01 -> 0.5"),
        ({"training__steps": 2}, "training.steps: 3 -> 2"),
        ({"adapter__kind": "dora", "training__seed": 1}, 'adapter.kind: "lora" -> "dora"'),
        ({"training__seed": 1}, "training.seed: 0 -> 1"),
        ({"data__prompt": "a cat"}, 'data.prompt: "a photo of sks dog" -> "a cat"'),
    ],
)
def test_other_settings_are_refused_with_what_differs(change, told, photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog")
    before = tree(run.root)
    with pytest.raises(ConfigError, match=re.escape(told)):
        train(photos, bases("sd1"), run.root, resume=True, **change)
    assert tree(run.root) == before


def test_other_pictures_are_refused_by_name(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog", training__steps=2)
    paint(photos, ("four",))
    (photos / "one.png").unlink()
    (photos / "two.png").write_bytes((photos / "three.png").read_bytes())
    with pytest.raises(CheckpointError, match=r"gone: one\.png; new: four\.png; changed: two\.png"):
        train(photos, bases("sd1"), run.root, resume=True, training__steps=4)


def test_a_damaged_checkpoint_is_refused_and_the_intact_one_named(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog", training__steps=2, checkpoints__every=1)
    newest = checkpoint_path(run.checkpoints, 2)
    data = bytearray((newest / "adapter.safetensors").read_bytes())
    data[-3] ^= 1
    (newest / "adapter.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"adapter\.safetensors is not as it was written.*step-00000001: move"):
        train(photos, bases("sd1"), run.root, resume=True, training__steps=4, checkpoints__every=1)
    newest.rename(tmp_path / "aside")
    again = train(photos, bases("sd1"), run.root, resume=True, training__steps=4, checkpoints__every=1)
    whole = train(photos, bases("sd1"), tmp_path / "whole" / "dog", training__steps=4, checkpoints__every=1)
    one, other = (load_file(run.export / "dog.safetensors") for run in (again, whole))
    assert all(torch.equal(one[key], other[key]) for key in other)


def test_a_run_is_not_overwritten(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog", training__steps=1)
    with pytest.raises(ConfigError, match="Continue that run with --resume"):
        train(photos, bases("sd1"), run.root)
    with pytest.raises(CheckpointError, match="holds no run"):
        train(photos, bases("sd1"), tmp_path, resume=True)


def test_killed_before_the_first_checkpoint_it_begins_again(photos, bases, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_checkpoint", killed)
        with pytest.raises(Killed):
            train(photos, bases("sd1"), tmp_path / "dog")
    run = train(photos, bases("sd1"), tmp_path / "dog", resume=True)
    assert [event.step for event in events(run).of(Started)] == [0]
    assert [event.step for event in events(run).of(Step)] == [1, 2, 3]


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(asked_by, photos, bases, tmp_path, monkeypatch, capsys):
    read = session.Session._read

    def asked(self, window, seconds):
        if window[-1].step == 1:  # too late for this step, whose work is decided already
            os.kill(os.getpid(), asked_by)
        return read(self, window, seconds)

    out = tmp_path / "dog"
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "_read", asked)
        with pytest.raises(Interrupted, match=r"after step 2; a checkpoint is saved\. .*--resume --out"):
            train(photos, bases("sd1"), out, training__steps=4)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert all_checkpoints(out / "checkpoints")[-1].name == "step-00000002"
    assert (out / "report.html").exists()
    # The cure, word for word: everything else stands in the run.
    assert maquette("train", "--resume", "--out", out) == 0
    shown = capsys.readouterr().out
    assert str(out / "report.html") in shown
    assert str(out / "export" / "dog.safetensors") in shown
    whole = train(photos, bases("sd1"), tmp_path / "whole" / "dog", training__steps=4)
    one, other = (load_file(root / "export" / "dog.safetensors") for root in (out, whole.root))
    assert all(torch.equal(one[key], other[key]) for key in other)


def test_asked_to_stop_before_it_began_it_ends_like_ctrl_c(photos, bases, tmp_path, monkeypatch, capsys):
    """Class images take long: those that are there stay, nothing half-written does, and the run can be resumed."""
    write, out = class_images.write_picture, tmp_path / "dog"

    def asked(path, picture, settings):
        write(path, picture, settings)
        os.kill(os.getpid(), signal.SIGTERM)

    settings = {**QUICK, "class_images.prompt": "a dog", "class_images.count": 2, "class_images.steps": 1}
    command = ["train", photos, "--prompt", PROMPT, "--base", bases("sd1"), "--out", out]
    with monkeypatch.context() as patch:
        patch.setattr(class_images, "write_picture", asked)
        assert maquette(*command, *(f"--set={part}" for part in sets(settings))) == 130
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    first = out / "class_images" / "concept-0" / "class-0000.png"
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    made = first.stat().st_mtime_ns
    assert maquette("train", "--resume", "--out", out) == 0
    assert first.stat().st_mtime_ns == made
    assert first.with_name("class-0001.png").exists()


def test_a_run_in_another_thread_is_a_run(photos, bases, tmp_path):
    """As a notebook or a web page would start it: there, nobody can listen to signals."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(train, photos, bases("sd1"), tmp_path / "dog", training__steps=1).result()
    assert (run.export / "dog.safetensors").exists()


def test_files_ask_for_a_checkpoint_or_a_preview_now(photos, bases, tmp_path, monkeypatch):
    read, out = session.Session._read, tmp_path / "dog"

    def ask(self, window, seconds):
        if window[-1].step == 1:
            (out / "save-now").touch()
            (out / "preview-now").touch()
        return read(self, window, seconds)

    monkeypatch.setattr(session.Session, "_read", ask)
    run = train(photos, bases("sd1"), out, training__steps=4)  # without previews otherwise
    assert [event.step for event in events(run).of(Saved)] == [0, 2, 4]
    assert [event.step for event in events(run).of(Previewed)] == [2]
    assert not list(out.glob("*-now"))


def test_a_loss_that_is_not_finite_stops_the_run_with_the_way_back(photos, bases, tmp_path):
    settings = {"training__steps": 6, "checkpoints__every": 1, "optimizer__lr": 1e30, "training__max_grad_norm": 0.0}
    with pytest.raises(ModelError, match=r"step 2: the loss is not finite.*step-00000001.*Lower optimizer\.lr"):
        train(photos, bases("sd1"), tmp_path / "dog", **settings)
    assert all_checkpoints(tmp_path / "dog" / "checkpoints")[-1].name == "step-00000001"


def test_the_pictures_of_a_step_gone_wrong_are_named(photos, bases, tmp_path, monkeypatch):
    """Whatever makes a code useless after it was checked, a bad disk say: the message leads to its picture."""
    get = Cache.get
    poisoned = tmp_path / "poisoned"
    paint(poisoned, ("two",))
    (poisoned / "two.png").write_bytes((photos / "two.png").read_bytes())
    keys: set[str] = set()

    def noted(self, key, compute):
        keys.add(key)
        return get(self, key, compute)

    def spoiled(self, key, compute):
        entry = get(self, key, compute)
        return {**entry, "mean": entry["mean"] * torch.nan} if key in keys and "mean" in entry else entry

    with monkeypatch.context() as patch:
        patch.setattr(Cache, "get", noted)
        train(poisoned, bases("sd1"), tmp_path / "first", training__steps=1)
    monkeypatch.setattr(Cache, "get", spoiled)
    with pytest.raises(ModelError, match=r"The pictures of that step: two\.png\. The last good checkpoint is .*step-"):
        train(photos, bases("sd1"), tmp_path / "dog", training__steps=6, checkpoints__every=1)


def test_text_encoders_rest_after_their_share_of_the_run(photos, bases, tmp_path):
    run = train(
        photos,
        bases("sd1"),
        tmp_path / "dog",
        training__steps=4,
        checkpoints__every=1,
        checkpoints__keep=5,
        text_encoder__train="lora",
        text_encoder__stop=0.5,
    )
    states = [load_file(checkpoint_path(run.checkpoints, step) / "adapter.safetensors") for step in (1, 2, 4)]

    def moved(one, other, module):
        names = [name for name in one if name.startswith(f"{module}.")]
        return any(not torch.equal(one[name], other[name]) for name in names)

    assert moved(states[0], states[1], "text_encoder")
    assert not moved(states[1], states[2], "text_encoder")
    assert moved(states[1], states[2], "denoiser")


def test_training_goes_on_from_an_earlier_adapter(photos, bases, tmp_path):
    settings = {"optimizer__lr": 1e-9, "training__steps": 1, "text_encoder__train": "lora", "preview__every": 1}
    first = train(photos, bases("sd1"), tmp_path / "one" / "dog", **{**settings, "optimizer__lr": 0.05})
    file = first.export / "dog.safetensors"
    second = train(photos, bases("sd1"), tmp_path / "two" / "dog", adapter__start_from=str(file), **settings)
    assert second.preview(0, 0, 0).stat().st_size
    one, other = load_file(file), load_file(second.export / "dog.safetensors")
    assert one.keys() == other.keys()
    # 1e-9 is all that one step may move a weight by.
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=3e-9) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ConfigError, match=r"adapter\.start_from: the adapter must have the kind, rank"):
        train(photos, bases("sd1"), tmp_path / "three", adapter__start_from=str(file), adapter__rank=4, **settings)
    with pytest.raises(CheckpointError, match="no such file"):
        train(photos, bases("sd1"), tmp_path / "four", adapter__start_from=str(tmp_path / "none.safetensors"))
