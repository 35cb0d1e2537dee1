"""Whole runs on tiny bases: what they leave behind, for every kind of adapter and family; what is learned and how."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.contract import tiny
from tests.learning.small import PROMPT, events, maquette, paint, train, tree

from maquette.adapters.delta import product
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.config.load import load_config
from maquette.errors import ModelError
from maquette.families.load import load_family
from maquette.generation.batch import Maker, opened
from maquette.generation.files import to_image
from maquette.generation.sample import Request, painter
from maquette.report.read import read_facts
from maquette.runs.events import Finished, Grouped, Previewed, Saved, Started, Step, Warned
from maquette.runs.rundir import RunDir
from maquette.training import session
from maquette.training.idle import Idle, idle_in
from maquette.training.prepare import checkpoint_gradients

# diffusers' samplers hand torch's tensors to numpy in a way that numpy 2 will no longer take.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return paint(tmp_path / "photos")


def adapter(run: RunDir) -> dict[str, torch.Tensor]:
    """The exported file in kohya's dialect, or the whole denoiser."""
    file = run.export / f"{run.root.name}.safetensors"
    model = run.export / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    return load_file(file if file.exists() else model)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_everything_that_is_promised_is_there(photos, bases, tmp_path):
    settings = {"preview__every": 2, "preview__num": 2, "checkpoints__every": 1, "checkpoints__keep": 2}
    run = train(
        photos, bases("sd1"), tmp_path / "dog", training__steps=4, training__ema={"half_life_images": 10.0}, **settings
    )
    files = {name for name in tree(run.root) if not name.startswith("cache/")}
    assert {"README.md", "config.toml", "events.jsonl", "report.html", "versions.json"} <= files
    exported = {"dog.safetensors", "pytorch_lora_weights.safetensors"}
    assert {name for name in files if name.startswith("export/")} == {
        *(f"export/{name}" for name in exported),
        *(f"export/raw/{name}" for name in exported),
        *(f"export/steps/dog-step{step:08d}.safetensors" for step in range(1, 5)),
    }
    shown = {(step, seed) for step in (0, 2, 4) for seed in (0, 1)}
    assert {name for name in files if name.startswith("previews/")} == {
        f"previews/step-{step:06d}-prompt-00-seed-{seed}.png" for step, seed in shown
    }
    whole = [f"step-{step:08d}" for step in range(5) if f"checkpoints/step-{step:08d}/adapter.safetensors" in files]
    assert whole == ["step-00000003", "step-00000004"]

    assert load_config(run.config).training.steps == 4
    versions = json.loads(run.versions.read_text())
    assert versions["libraries"]["torch"] == torch.__version__
    assert versions["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", versions["commit"])
    log = events(run).events
    assert [type(event) for event in log[:3]] == [Started, Grouped, Previewed]
    assert isinstance(log[-1], Finished)
    assert [event.step for event in events(run).of(Step)] == [1, 2, 3, 4]
    assert [event.step for event in events(run).of(Saved)] == [0, 1, 2, 3, 4]
    assert {(event.step, event.seed) for event in events(run).of(Previewed)} == shown
    assert not events(run).of(Warned)
    front = run.card.read_text().split("---")[1]
    assert f"instance_prompt: {PROMPT}" in front
    assert "url: previews/step-000004-prompt-00-seed-1.png" in front
    assert not read_facts(run).problems
    page = run.report.read_text()
    assert PROMPT in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|https://)", page)  # everything it shows is in it
    assert str(tmp_path) not in page
    assert str(tmp_path) not in run.card.read_text()
    # The average differs from the raw weights, and is what stands in the main place.
    assert not same(load_file(run.export / "dog.safetensors"), load_file(run.export / "raw" / "dog.safetensors"))


CASES = [
    *[("sd1", kind, text) for kind in ("lora", "dora", "loha", "lokr") for text in ("none", "lora")],
    *[("sd1", "full", text) for text in ("none", "full")],
    *[(family, "lora", "lora") for family in ("sd2-v", "sdxl", "playground")],
]


@pytest.mark.parametrize(("family", "kind", "text"), CASES)
def test_every_kind_trains_what_it_says_and_nothing_else(family, kind, text, photos, bases, tmp_path):
    base = bases(family)
    run = train(photos, base, tmp_path / "run", training__steps=2, adapter__kind=kind, text_encoder__train=text)
    losses = [event.loss for event in events(run).of(Step)]
    assert len(losses) == 2
    assert all(0 < loss < 100 for loss in losses)
    loaded = load_family(base)
    texts = {name for name in loaded.modules if name.startswith("text_encoder")}
    if kind == "full":
        made = load_family(run.export / "model")
        moved = {
            name
            for name, module in loaded.modules.items()
            if not same(module.state_dict(), made.modules[name].state_dict())
        }
    else:
        delta = read_adapter(run.root, layout_of(loaded.modules)).delta
        shapes = {at: loaded.modules[at.module].get_submodule(at.path).weight.shape for at in delta}
        moved = {at.module for at, update in delta.items() if product(update.factors, shapes[at]).abs().max() > 0}
        names = {path.name for path in run.export.glob("*.safetensors")}
        both = {"run.safetensors", "pytorch_lora_weights.safetensors"}
        assert names == (both if kind in ("lora", "dora") else {"run.safetensors"})
    assert moved == {"denoiser"} | (texts if text != "none" else set())


AS_SHOWN = {
    "lora": {},
    "dora": {"adapter__kind": "dora"},
    "lokr": {"adapter__kind": "lokr"},
    "convolutions": {"adapter__targets": "attention+feed_forward+convolutions", "adapter__lora_alpha": 1.0},
    "ema": {"training__ema": {"half_life_images": 3.0}},
    "schedule_free": {"optimizer__kind": "schedule_free"},
    "text encoder": {"text_encoder__train": "lora"},
    "clip_skip": {"model__clip_skip": 1},
    "bf16": {"model__precision": "bf16"},
    "dropout": {"adapter__dropout": 0.5},
    "checkpointing": {"training__gradient_checkpointing": True, "text_encoder__train": "lora"},
}


@pytest.mark.parametrize("name", AS_SHOWN)
def test_a_preview_has_the_bytes_that_generate_makes(name, photos, bases, tmp_path):
    """From the exported file, in another family, by the command line: nothing but the run's folder is named."""
    run = train(photos, bases("sd1"), tmp_path / "dog", preview__every=3, **AS_SHOWN[name])
    out = tmp_path / "pictures"
    assert maquette("generate", PROMPT, "--adapter", run.root, "--steps", 2, "--out", out) == 0
    [picture] = [path for path in out.glob("*.png") if path.name != "grid.png"]
    first, last = run.preview(0, 0, 0).read_bytes(), run.preview(3, 0, 0).read_bytes()
    assert picture.read_bytes() == last
    assert first != last


def test_a_preview_of_sdxl_has_the_bytes_that_generate_makes(photos, bases, tmp_path):
    run = train(photos, bases("sdxl"), tmp_path / "dog", preview__every=3, text_encoder__train="lora")
    assert maquette("generate", PROMPT, "--adapter", run.root, "--steps", 2, "--out", tmp_path / "pictures") == 0
    [picture] = (tmp_path / "pictures").glob("a-photo*.png")
    assert picture.read_bytes() == run.preview(3, 0, 0).read_bytes()


def test_a_model_trained_whole_paints_what_its_previews_showed(photos, bases, tmp_path):
    run = train(
        photos, bases("sd1"), tmp_path / "dog", adapter__kind="full", preview__every=3, output__single_file=True
    )
    request = Request(prompt=PROMPT, seed=0, steps=2, guidance=5.0)
    pictures = []
    for base in (run.export / "model", run.export / "dog.safetensors"):
        tokenizer = str(run.export / "model") if base.is_file() else None
        with opened(Maker(str(base), [], tokenizer=tokenizer)) as family, painter(family) as paint_one:
            pictures.append(paint_one(request))
    shown = read_facts(run).previews[-1]
    assert torch.equal(pictures[0], pictures[1])
    with Image.open(shown.file) as image:
        assert image.tobytes() == to_image(pictures[0]).tobytes()
    assert maquette("generate", PROMPT, "--adapter", run.root, "--out", tmp_path / "none") == 2


def test_checkpointing_computes_twice_and_learns_the_same(photos, bases, tmp_path):
    settings = {"text_encoder__train": "lora", "adapter__dropout": 0.2}
    plain = train(photos, bases("sd1"), tmp_path / "a" / "dog", **settings)
    saving = train(photos, bases("sd1"), tmp_path / "b" / "dog", training__gradient_checkpointing=True, **settings)
    # Recomputed from the same numbers in the same order, so not even rounding differs.
    assert same(adapter(plain), adapter(saving))

    family, calls = tiny.sd1(), []
    # Parts that come first where they are: what comes last is not computed again, as nothing needs its result.
    parts = {
        "denoiser": family.unet.mid_block.resnets[1].norm1,
        "text_encoder": family.text_encoder.encoder.layers[1].layer_norm1,
    }
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: calls.append(name))
        checkpoint_gradients(family.modules[name])
    context = family.embed_text(family.tokenize([PROMPT]))["context"]
    family.predict(torch.randn(1, 4, 8, 8), torch.tensor([500.0]), {"context": context}).sum().backward()
    assert sorted(calls) == ["denoiser"] * 2 + ["text_encoder"] * 2


def test_modules_that_are_done_leave_the_device_until_previews(monkeypatch):
    """On a stand-in for a GPU: where each module is sent, and in which order."""
    family, sent = tiny.sd1(), []
    for name, module in family.modules.items():
        monkeypatch.setattr(module, "to", lambda device, name=name: sent.append((name, str(device))))
    gpu = torch.device("cuda")
    for text, images, left in [(False, False, ["text_encoder", "vae"]), (True, False, ["vae"]), (True, True, [])]:
        dataset = SimpleNamespace(needs_text_encoder=text, needs_image_encoder=images)
        idle = idle_in(family, dataset, gpu)
        sent.clear()
        idle.leave()
        with idle.present():
            assert sorted(sent) == sorted([(name, place) for name in left for place in ("cpu", "cuda")])
        assert sorted(sent[2 * len(left) :]) == [(name, "cpu") for name in left]
    sent.clear()
    Idle(list(family.modules.values()), torch.device("cpu")).leave()
    assert sent == []


def test_too_little_memory_is_said_with_its_cure(photos, bases, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of ...")

    monkeypatch.setattr(session, "train", full)
    with pytest.raises(
        ModelError, match=r"not enough \(CUDA out of memory\).*batch_size = 1.*gradient_checkpointing = true"
    ):
        train(photos, bases("sd1"), tmp_path / "dog")
