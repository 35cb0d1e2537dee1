"""Runs whose steps compute with packed weights: what they leave is what runs always leave."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.learning.small import PROMPT, maquette, paint, train

from maquette.families import packed
from maquette.families.packed import can_pack
from maquette.training import session

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


@pytest.fixture(autouse=True)
def small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny bases have few channels, and are trained in fp32."""
    monkeypatch.setattr(packed, "CHANNELS", 1)
    monkeypatch.setattr(packed, "PRECISIONS", (torch.float32,))
    if not can_pack(torch.float32):
        pytest.skip("a torch that packs nothing")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The inputs that packed weights were used on."""
    shapes: list[torch.Size] = []
    convolve = packed.convolve

    def noted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        shapes.append(x.shape)
        return convolve(x, weight, bias)

    monkeypatch.setattr(packed, "convolve", noted)
    return shapes


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches kill -9."""


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_going_on_changes_no_bit_and_previews_are_what_generate_makes(kind, bases, used, tmp_path, monkeypatch):
    photos = paint(tmp_path / "photos")
    settings = {
        "adapter__kind": kind,
        "adapter__targets": "attention+feed_forward+convolutions",
        "preview__every": 4,
        "training__steps": 4,
        "checkpoints__every": 2,
    }
    whole = train(photos, bases("sd1"), tmp_path / "whole" / "dog", **settings)
    assert used
    write = session.write_checkpoint

    def then_killed(folder, at, pieces):
        write(folder, at, pieces)
        raise Killed

    out = tmp_path / "parts" / "dog"
    with monkeypatch.context() as patch:
        patch.setattr(session, "write_checkpoint", then_killed)
        with pytest.raises(Killed):
            train(photos, bases("sd1"), out, **settings)
    parts = train(photos, bases("sd1"), out, resume=True, **settings)
    one, other = (load_file(run.export / "dog.safetensors") for run in (parts, whole))
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []

    used.clear()
    pictures = tmp_path / "pictures"
    assert maquette("generate", PROMPT, "--adapter", parts.root, "--steps", 2, "--out", pictures) == 0
    [picture] = [path for path in pictures.glob("*.png") if path.name != "grid.png"]
    shown = [run.preview(4, 0, 0).read_bytes() for run in (parts, whole)]
    assert shown == [picture.read_bytes()] * 2
    assert not used


def test_learns_what_plain_weights_do(bases, used, tmp_path, monkeypatch):
    photos = paint(tmp_path / "photos")
    ours = train(photos, bases("sd1"), tmp_path / "a" / "dog")
    assert used
    used.clear()
    monkeypatch.setattr(packed, "CHANNELS", 1 << 20)
    theirs = train(photos, bases("sd1"), tmp_path / "b" / "dog")
    assert not used
    one, other = (load_file(Path(run.export) / "dog.safetensors") for run in (ours, theirs))
    # Adam divides by the gradient's own size, so that rounding shows where a gradient is next to nothing.
    off = torch.cat([(one[key].float() - other[key].float()).flatten() for key in one])
    assert off.norm() < 1e-2 * torch.cat([other[key].float().flatten() for key in one]).norm()


@pytest.mark.parametrize(
    "settings",
    [{"adapter__kind": "full", "optimizer__lr": 1e-4}, {"training__gradient_checkpointing": True}],
    ids=["trained weights", "memory first"],
)
def test_what_is_trained_or_wants_the_memory_is_not_packed(settings, bases, used, tmp_path):
    train(paint(tmp_path / "photos"), bases("sd1"), tmp_path / "dog", training__steps=1, **settings)
    assert not used
