"""What a run learns from: class images, masks, several concepts, held-out pictures, steps of several batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.contract import tiny
from tests.learning.small import events, paint, train, tree

from maquette.config.load import load_config
from maquette.errors import DataError
from maquette.generation.files import read_settings
from maquette.runs.events import Previewed, Scored, Step, Warned
from maquette.runs.rundir import RunDir
from maquette.training.session import run as run_config

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

CLASS = {"class_images__prompt": "a photo of dog", "class_images__steps": 2, "training__steps": 2}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return paint(tmp_path / "photos")


def adapter(run: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run.export / f"{run.root.name}.safetensors")


def differ(one: RunDir, other: RunDir) -> bool:
    ours, theirs = adapter(one), adapter(other)
    assert ours.keys() == theirs.keys()
    return any(not torch.equal(ours[name], theirs[name]) for name in ours)


def seen(run: RunDir) -> int:
    return events(run).of(Step)[-1].images_seen


def test_class_images_are_made_counted_and_learned(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog", class_images__count=3, **CLASS)
    made = tree(run.root / "class_images" / "concept-0")
    assert sorted(made) == ["class-0000.png", "class-0001.png", "class-0002.png"]
    assert len(set(made.values())) == 3
    told = read_settings(run.root / "class_images" / "concept-0" / "class-0000.png")
    assert (told["prompt"], told["steps"], told["base"]) == ("a photo of dog", 2, "sd1")
    assert seen(run) == 4  # one of the subject and one of the class in each of two steps
    heavier = train(
        photos, bases("sd1"), tmp_path / "heavy" / "dog", class_images__count=3, class_images__weight=9.0, **CLASS
    )
    assert differ(run, heavier)


def test_class_images_are_completed_never_made_anew(photos, bases, tmp_path):
    folder = tmp_path / "class"  # does not exist yet
    settings = {**CLASS, "class_images__folder": str(folder)}
    train(photos, bases("sd1"), tmp_path / "one", class_images__count=2, **settings)
    first = tree(folder)
    (folder / "class-0000.png").unlink()
    paint(folder, ("mine",), (16, 16))
    train(photos, bases("sd1"), tmp_path / "two", class_images__count=4, **settings)
    assert sorted(tree(folder)) == ["class-0000.png", "class-0001.png", "class-0002.png", "mine.png"]
    assert {name: tree(folder)[name] for name in first} == first
    with pytest.raises(DataError, match=r"made for another prompt .*class-0000\.png"):
        train(photos, bases("sd1"), tmp_path / "three", **{**settings, "class_images__prompt": "a photo of cat"})
    with pytest.raises(DataError, match=r"or by another base: class-0000\.png"):
        train(photos, bases("sd2-v"), tmp_path / "four", **settings)


def test_class_images_are_made_as_large_as_they_are_trained(photos, bases, tmp_path):
    paint(photos, size=(64, 64))
    run = train(photos, bases("sd1"), tmp_path / "dog", data__resolution=64, class_images__count=1, **CLASS)
    with Image.open(run.root / "class_images" / "concept-0" / "class-0000.png") as image:
        assert image.size == (64, 64)


def test_class_images_that_exist_are_enough(photos, bases, tmp_path):
    folder = paint(tmp_path / "dogs", ("a", "b"), (16, 16))
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("a dog")
    run = train(photos, bases("sdxl"), tmp_path / "dog", class_images__folder=str(folder), training__steps=2)
    assert seen(run) == 4
    assert not (run.root / "class_images").exists()


def test_masks_change_what_is_learned(photos, bases, tmp_path):
    for name in ("one", "two", "three"):
        mask = np.zeros((24, 24), np.uint8)
        mask[:12] = 255
        Image.fromarray(mask).save(photos / f"{name}-masklabel.png")
    masked = train(photos, bases("sd1"), tmp_path / "a" / "dog", data__masks="label")
    with pytest.raises(DataError, match="no picture has a mask"):
        train(paint(tmp_path / "other"), bases("sd1"), tmp_path / "b", data__masks="label")
    for path in photos.glob("*-masklabel.png"):
        path.unlink()
    assert differ(masked, train(photos, bases("sd1"), tmp_path / "c" / "dog"))


def test_every_step_takes_the_pictures_it_says(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "dog", training__batch_size=2, training__gradient_accumulation=3)
    assert [event.images_seen for event in events(run).of(Step)] == [6, 12, 18]


def test_noise_offset_changes_what_is_learned(photos, bases, tmp_path):
    plain = train(photos, bases("sd1"), tmp_path / "a" / "dog")
    assert differ(plain, train(photos, bases("sd1"), tmp_path / "b" / "dog", loss__noise_offset=0.1))
    assert not differ(plain, train(photos, bases("sd1"), tmp_path / "c" / "dog"))


def test_two_concepts_in_one_adapter_each_with_its_class(bases, tmp_path):
    dogs, cats = paint(tmp_path / "dogs"), paint(tmp_path / "cats", ("x", "y"))
    (tmp_path / "run.toml").write_text(f"""
        model.base = '{bases("sd1")}'
        class_images = {{ count = 2, steps = 2 }}
        training.steps = 3
        preview = {{ every = 3, steps = 2 }}
        logging.trackers = []
        [[concepts]]
        folder = "dogs"
        prompt = "a photo of [trigger] dog"
        trigger = "sks"
        class_prompt = "a photo of dog"
        [[concepts]]
        folder = "cats"
        prompt = "a cat on the beach"
        repeats = 2
        """)
    run = run_config(load_config(tmp_path / "run.toml"), out=tmp_path / "both")
    assert sorted(tree(run.root / "class_images")) == ["concept-0/class-0000.png", "concept-0/class-0001.png"]
    prompts = {event.prompt for event in events(run).of(Previewed)}
    assert prompts == {"a photo of sks dog", "a cat on the beach"}
    kept = [json.loads(line) for line in (run.root / "pictures" / "metadata.jsonl").read_text().splitlines()]
    assert len(kept) == len(list(dogs.iterdir())) + len(list(cats.iterdir()))


def test_validation_is_measured_on_pictures_that_are_not_trained(photos, bases, tmp_path):
    settings = {"validation__every": 2, "validation__hold_out": 0.3, "validation__draws": 4, "training__steps": 3}
    runs = [
        train(photos, bases("sd1"), tmp_path / name / "dog", optimizer__lr=lr, **settings)
        for name, lr in [("a", 0.01), ("b", 0.05)]
    ]
    scores = [{event.step: event.value for event in events(run).of(Scored)} for run in runs]
    assert [list(score) for score in scores] == [[0, 2, 3]] * 2
    assert scores[0][0] == scores[1][0]  # nothing is trained yet, and the noise is fixed
    assert scores[0][3] != scores[1][3]
    without = train(photos, bases("sd1"), tmp_path / "c" / "dog", training__steps=3)
    assert differ(runs[0], without)  # which learns from all three


def test_tensorboard_gets_the_curves(photos, bases, tmp_path):
    pytest.importorskip("tensorboard", reason="an extra")
    run = train(photos, bases("sd1"), tmp_path / "dog", logging__trackers=["tensorboard"])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [written] = {path.parent for path in (run.root / "logs").rglob("events.out.tfevents.*")}
    curves = EventAccumulator(str(written)).Reload()
    assert [point.step for point in curves.Scalars("loss")] == [1, 2, 3]


def test_black_previews_are_reported(photos, tmp_path):
    family = tiny.sd1()
    with torch.no_grad():
        family.vae.decoder.conv_out.bias.fill_(float("nan"))
    family.pipeline().save_pretrained(tmp_path / "base")
    run = train(photos, tmp_path / "base", tmp_path / "dog", preview__every=3)
    warned = [event for event in events(run).of(Warned) if "is black" in event.message]
    assert [event.step for event in warned] == [0, 3]


@pytest.mark.parametrize("captions", [{"dropout": 0.5}, {"shuffle": True, "keep_tokens": 1}])
def test_captions_that_change_from_draw_to_draw(captions, photos, bases, tmp_path):
    for name in ("one", "two", "three"):
        (photos / f"{name}.txt").write_text("sks, dog, red, beach")
    settings = {f"data__captions__{key}": value for key, value in captions.items()}
    run = train(photos, bases("sdxl"), tmp_path / "a" / "dog", data__prompt=None, **settings)
    assert differ(run, train(photos, bases("sdxl"), tmp_path / "b" / "dog", data__prompt=None))
