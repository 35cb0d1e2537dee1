"""A pack as a run: folders become concepts, and a broken-off run goes on to the same bits."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.learning.small import events, paint, train, tree
from tests.learning.test_run_resume import killed_when_saving

from maquette.config.load import load_config
from maquette.report.read import read_facts
from maquette.runs.events import Finished, Previewed, Warned
from maquette.runs.rundir import RunDir


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """Two styles of two pictures, one with a tag file and one with captions."""
    folder = tmp_path / "styles"
    for style in ("red", "beach"):
        paint(folder / style, (f"{style} one", f"{style} two"))
    said = {"style": "photo", "item": {"red one": "dog", "red two": "cat," + " of" * 90}}
    (folder / "red/tag.json").write_text(json.dumps(said))
    for name in ("one", "two"):
        (folder / f"beach/beach {name}.txt").write_text("a dog on the beach, cat")
    return folder


def packed(styles: Path, base: Path, out: Path, **settings: object) -> RunDir:
    own = {
        "data__prompt": None,
        "data__flip": True,
        "data__captions__shuffle": True,
        "data__captions__flip_tag": "of the",
        "adapter__rank": None,
        "adapter__dropout": 0.1,
        "pack__rank_per_concept": 2,
        "pack__steps_per_concept": 3,
        "training__steps": "auto",
        "text_encoder__train": "lora",
        "pack__sampler": "balanced",
    }
    return train(styles, base, out, **{**own, **settings})


def test_a_pack_that_was_broken_off_goes_on_to_the_same_bits(
    styles: Path, bases: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = bases("sdxl")
    whole = packed(styles, base, tmp_path / "a/run", checkpoints__every=2)
    config = load_config(whole.config)
    assert [(c.trigger, c.phrase) for c in config.concepts] == [("beach", None), ("red", "photo")]
    assert (config.adapter.rank, config.adapter.lora_alpha, config.text_encoder.rank) == (4, 4.0, 4)
    assert config.training.steps == 6
    told = [event.message for event in events(whole).of(Warned)]
    assert any("longer than the text encoder reads" in text and "red two.png" in text for text in told)
    assert read_facts(whole).triggers == ["beach", "red"]

    other = tmp_path / "b/run"
    killed_when_saving(4, monkeypatch, lambda: packed(styles, base, other, checkpoints__every=2))
    resumed = packed(styles, base, other, checkpoints__every=2, resume=True)
    weights = "checkpoints/step-00000006/adapter.safetensors"
    assert tree(whole.root)[weights] == tree(resumed.root)[weights]
    assert load_config(resumed.config) == config


def test_virtual_concepts_are_learned_and_not_shown(styles: Path, bases: Callable[[str], Path], tmp_path: Path) -> None:
    run = packed(styles, bases("sd1"), tmp_path / "run", pack__virtual=["beach"], preview__every=6)
    assert {event.prompt for event in events(run).of(Previewed)} == {"red,photo,dog"}
    assert read_facts(run).triggers == ["red"]
    assert events(run).of(Finished)[0].step == 6
