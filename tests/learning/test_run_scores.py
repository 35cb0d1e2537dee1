"""Runs that score themselves on the embedded base: what is told and kept, and that training does not notice."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.learning.small import QUICK, events, maquette, paint, sets, tree
from tests.learning.small import train as train_tiny
from tests.unit.evaluation import nets

from maquette.config.load import load_config
from maquette.embedded.folders import subject_pictures, write_folder
from maquette.errors import CheckpointError, ConfigError
from maquette.evaluation.choice import Choice
from maquette.report.read import read_facts
from maquette.runs.best import read_best
from maquette.runs.events import Finished, Previewed, Saved, Scored, Warned
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, OTHER_PROMPTS, PROMPT
from maquette.runs.rundir import RunDir
from maquette.training import best, session
from maquette.training.session import run as train

PROMPTS = ["a photo of sks mug on the beach", "a photo of sks mug in the city"]
SCORED = {
    "evaluation.every": 2,
    "evaluation.prompts": PROMPTS,
    "evaluation.num": 2,
    "evaluation.steps": 2,
    "training.steps": 5,
    "checkpoints.every": 3,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "mug"
    write_folder(subject_pictures(3, 2, seed=0, token="sks"), folder)
    return folder


def run(photos: Path, out: Path, *, resume: bool = False, **settings: object) -> RunDir:
    given = {**QUICK, **SCORED, **{key.replace("__", "."): value for key, value in settings.items()}}
    return train(load_config(flags={"SOURCE": photos}, sets=sets(given)), out=out, resume=resume)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return run(photos, tmp_path_factory.mktemp("whole") / "mug")


def test_every_scoring_is_told_picture_by_picture_and_as_a_whole(whole):
    scored = [event for event in events(whole).of(Previewed) if event.path.startswith("scored/")]
    assert [(e.step, e.prompt, e.seed) for e in scored] == [
        (step, *asked)
        for step in (0, 2, 4, 5)
        for asked in [
            *((prompt, seed) for prompt in PROMPTS for seed in (0, 1)),
            *((prompt.replace("sks mug", "a mug"), 0) for prompt in PROMPTS),
        ]
    ]
    own = {FIDELITY["subject"], PROMPT, DIVERSITY}
    for event in scored:
        neutral = {PROMPT, OTHER_PROMPTS if event.step == 0 else DRIFT}
        assert set(event.scores) == (neutral if "a mug" in event.prompt else own)
        assert (whole.root / event.path).is_file()
    summaries = {(e.step, e.name): e for e in events(whole).of(Scored)}
    assert {step for step, _ in summaries} == {0, 2, 4, 5}
    assert {name for step, name in summaries if step == 2} == {*own, DRIFT}
    for (step, name), event in summaries.items():
        values = [e.scores[name] for e in scored if e.step == step and name in e.scores and "sks" in e.prompt] or [
            e.scores[name] for e in scored if e.step == step and name in e.scores
        ]
        assert event.value == pytest.approx(sum(values) / len(values))
        assert event.low <= event.value <= event.high
        assert event.network == "judge"


def test_the_chosen_checkpoint_lies_in_best_with_the_reasons(whole, tmp_path):
    found = read_best(whole)
    assert found is not None
    assert (found.step in (2, 4, 5), found.after, found.by) == (True, 5, "scores")
    assert set(found.balance) == {2, 4, 5}
    assert found.findings
    assert "half a standard error" in found.rule
    name = f"mug-step{found.step:08d}.safetensors"
    assert {path.name for path in whole.best.iterdir()} == {"best.json", name, "pytorch_lora_weights.safetensors"}
    assert (whole.best / name).read_bytes() == (whole.export / "steps" / name).read_bytes()
    # Either file makes, in another family, the very picture that was scored; the base is found through the run.
    for adapter in (whole.best, whole.best / name):
        out = tmp_path / adapter.name
        assert maquette("generate", PROMPTS[0], "--adapter", adapter, "--steps", 2, "--out", out) == 0
        [made] = [path for path in out.glob("*.png") if path.name != "grid.png"]
        assert pixels(made) == pixels(whole.scored_picture(found.step, 0))


def pixels(path: Path) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        return image.tobytes()


def test_training_does_not_notice_that_it_is_scored(whole, photos, tmp_path):
    plain = run(photos, tmp_path / "mug", evaluation__every=0)
    one, other = (load_file(each.export / "mug.safetensors") for each in (whole, plain))
    assert all(torch.equal(one[key], other[key]) for key in other)
    assert not plain.best.exists()
    assert not plain.scored.exists()
    assert not events(plain).of(Scored)


class Killed(BaseException):
    """Nothing of ours catches it."""


def test_killed_and_resumed_the_scores_and_the_choice_are_the_same(whole, photos, tmp_path, monkeypatch):
    """Killed where the choice of step 4 has been made and no checkpoint written: it goes back to step 3."""
    keep, out = session.keep_best, tmp_path / "mug"

    def then_killed(*arguments):
        ended = keep(*arguments)
        if arguments[-1] == 4:
            raise Killed
        return ended

    with monkeypatch.context() as patch:
        patch.setattr(session, "keep_best", then_killed)
        with pytest.raises(Killed):
            run(photos, out)
    assert max(event.step for event in events(RunDir(out)).of(Scored)) == 4
    parts = run(photos, out, resume=True)
    for kind in (Previewed, Scored, Saved):
        assert events(parts).of(kind) == events(whole).of(kind)
    assert json.loads((parts.best / "best.json").read_text()) == json.loads((whole.best / "best.json").read_text())
    ours, theirs = tree(parts.scored), tree(whole.scored)
    assert ours == theirs
    # A run whose reference pictures are gone says so, and what to do.
    shutil.rmtree(parts.scored)
    with pytest.raises(CheckpointError, match=r"the base's pictures.*are gone.*evaluation\.every=0"):
        run(photos, out, resume=True, training__steps=7)


def test_patience_ends_a_run_with_everything_that_its_end_brings(photos, tmp_path, monkeypatch):
    """The first checkpoint is made the best: the second spends a patience of one."""
    monkeypatch.setattr(best, "choose", lambda readings, scale: Choice(2, 2, {r.step: 1 / r.step for r in readings}))
    given = {"evaluation__patience": 1, "evaluation__num": 1, "evaluation__prompts": PROMPTS[:1], "preview__every": 5}
    ended = run(photos, tmp_path / "mug", training__steps=9, checkpoints__every=9, **given)
    log = events(ended)
    assert [event.step for event in log.of(Finished)] == [4]
    assert [event.step for event in log.of(Saved)] == [0, 4]
    told = [event.message for event in log.of(Warned)]
    assert told == [
        "Ended at step 4 of 9: 1 checkpoints after the best, of step 2, were no better (evaluation.patience)."
    ]
    assert {event.step for event in log.of(Previewed)} == {0, 2, 4}
    assert (ended.export / "mug.safetensors").is_file()
    assert (ended.best / "mug-step00000002.safetensors").is_file()
    assert read_facts(ended).is_finished


def test_held_out_loss_chooses_where_nothing_is_scored(photos, tmp_path):
    chosen = run(photos, tmp_path / "mug", evaluation__every=0, validation__every=1, checkpoints__every=1)
    found = read_best(chosen)
    assert found is not None
    losses = {event.step: event.value for event in events(chosen).of(Scored) if event.step}
    assert found.by == "validation loss"
    assert found.step == min(losses, key=lambda step: losses[step])
    assert found.balance == losses
    assert (chosen.best / f"mug-step{found.step:08d}.safetensors").is_file()


def test_of_a_whole_model_the_better_of_two_is_kept(photos, tmp_path):
    settings = {"adapter__kind": "full", "adapter__rank": None, "optimizer__lr": 1e-4, "training__steps": 4}
    given = {**QUICK, **SCORED, **{key.replace("__", "."): value for key, value in settings.items()}}
    given = {key: value for key, value in given.items() if value is not None} | {"evaluation.num": 1}
    made = train(load_config(flags={"SOURCE": photos}, sets=sets(given)), out=tmp_path / "mug")
    found = read_best(made)
    assert found is not None
    assert set(found.balance) <= {2, 4}
    assert (made.best / "model" / "model_index.json").is_file()
    assert maquette("generate", PROMPTS[0], "--base", made.best / "model", "--steps", 2, "--out", tmp_path / "p") == 0
    [picture] = [path for path in (tmp_path / "p").glob("*.png") if path.name != "grid.png"]
    assert pixels(picture) == pixels(made.scored_picture(found.step, 0))


def test_patience_counts_every_checkpoint_of_a_whole_model(bases, tmp_path, monkeypatch):
    """The first is kept throughout, and each of the others is compared with it alone."""
    monkeypatch.setattr(best, "choose_by_loss", lambda losses: Choice(1, 1, dict(losses)))
    settings = {"adapter__kind": "full", "training__steps": 5, "checkpoints__every": 1, "validation__every": 1}
    photos = paint(tmp_path / "photos")
    ended = train_tiny(photos, bases("sd1"), tmp_path / "dog", **settings, evaluation__patience=3)
    assert [event.step for event in events(ended).of(Finished)] == [4]
    found = read_best(ended)
    assert found is not None
    assert found.balance == {e.step: e.value for e in events(ended).of(Scored) if e.step}


def test_patience_is_refused_where_nothing_can_tell_the_best(bases, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluation\.patience = 2: no pictures are scored.*\[validation\]"):
        train_tiny(paint(tmp_path / "photos"), bases("sd1"), tmp_path / "dog", evaluation__patience=2)


def test_another_base_is_scored_by_networks_that_are_named_and_never_by_the_judge(bases, tmp_path):
    photos = paint(tmp_path / "photos")
    nets.clip(tmp_path / "clip")
    nets.vit(tmp_path / "dino")
    given = {**QUICK, **SCORED, "data.prompt": "a photo of sks dog", "evaluation.prompts": ["a photo of sks dog"]}
    flags = {"SOURCE": photos, "--base": bases("sd1")}

    def go(name: str, **networks: str) -> RunDir:
        named = {f"evaluation.networks.{role}": value for role, value in networks.items()}
        return train(load_config(flags=flags, sets=sets({**given, **named})), out=tmp_path / name)

    assert read_best(go("none")) is None
    with pytest.raises(ConfigError, match=r"names no network for: instance\. .*knows the embedded world alone"):
        go("half", image=str(tmp_path / "clip"))
    run = go("both", image=str(tmp_path / "clip"), instance=str(tmp_path / "dino"))
    told = {event.name: event.network for event in events(run).of(Scored)}
    assert set(told) == {FIDELITY["subject"], PROMPT, DRIFT}  # without LPIPS, no diversity
    assert not any("judge" in network for network in told.values())
    assert read_best(run) is not None
