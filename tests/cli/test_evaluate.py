"""`maquette evaluate` and `maquette compare` as people call them, on tiny bases and the embedded judge."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.learning.small import maquette, paint, train

from maquette.generation.files import write_picture
from maquette.runs.scores import read_scores

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

SUITE = """\
# Two mugs.
metrics = ["subject_fidelity", "prompt_fidelity", "diversity", "preservation", "drift"]
num = 2

[sampling]
steps = 1
guidance = 1.0

[[prompts]]
text = "a photo of [subject] on the beach"

[[prompts]]
text = "a [subject] in the snow"

[[prompts]]
text = "a photo of a [class]"
shows = "class"

[[prompts]]
text = "a red boat"
shows = "neutral"
"""
PROMPT = "a photo of sks mug"

DREAMBOOTH = """\
Classes

subject_name,class
cat2,cat
dog6,dog

Prompts

Object Prompts
'a {0} {1} in the jungle'.format(unique_token, class_token),

Live Subject Prompts
'a {0} {1} in a chef outfit'.format(unique_token, class_token),
'a wet {0} {1}'.format(unique_token, class_token)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, bases: Callable[[str], Path]) -> Path:
    """A folder with a run, its photos, a suite, and the run's adapter under a name of its own elsewhere."""
    root = tmp_path_factory.mktemp("evaluate")
    paint(root / "photos")
    (root / "base").symlink_to(bases("sd1"))
    (root / "my.toml").write_text(SUITE)
    run = train(root / "photos", root / "base", root / "runs" / "mug", data__prompt=PROMPT, checkpoints__every=2)
    shutil.copy(run.export / "mug.safetensors", root / "foreign.safetensors")
    return root


@pytest.fixture
def here(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    return root


def pictures(folder: Path) -> dict[str, int]:
    """Every picture of a folder with the time at which it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png") if path.name != "grid.png"}


def test_a_run_is_scored_and_a_second_call_makes_no_picture_again(here, capsys):
    assert maquette("evaluate", "runs/mug", "--suite", "my.toml") == 0
    out = here / "runs/mug/evaluation/my"
    made = pictures(out / "pictures")
    assert len(made) == 2 * (2 + 1 + 1)
    shown = capsys.readouterr().out
    assert "subject fidelity" in shown
    assert "judge" in shown
    scores = read_scores(out / "scores.json")
    assert [score.name for score in scores.evaluations[0].scores] == [
        "subject_fidelity",
        "prompt_fidelity",
        "diversity",
        "preservation",
        "drift",
    ]
    assert all(score.is_score and score.low <= score.value <= score.high for score in scores.evaluations[0].scores)
    shot = scores.evaluations[0].shots[0]
    assert (shot.prompt, shot.scored, shot.concept) == (
        f"{PROMPT} on the beach",
        "a photo of mug on the beach",
        "photos",
    )
    assert (out / shot.file).is_file()
    assert set(shot.scores) == {"subject_fidelity", "prompt_fidelity", "diversity"}
    assert str(here) not in (out / "scores.json").read_text() + (out / "evaluation.html").read_text()
    before = (out / "scores.json").read_bytes()
    assert maquette("evaluate", "runs/mug", "--suite", "my.toml") == 0
    assert pictures(out / "pictures") == made
    assert (out / "scores.json").read_bytes() == before


def test_things_are_compared_with_the_first_on_the_same_prompts_and_seeds(here, capsys):
    assert maquette("compare", "runs/mug", "base", "--suite", "my.toml", "--out", "table") == 0
    assert "base against mug:" in " ".join(capsys.readouterr().out.split())
    scores = read_scores(here / "table/scores.json")
    one, base = scores.evaluations
    assert [(s.text, s.seed) for s in one.shots] == [(s.text, s.seed) for s in base.shots]
    assert base.shots[0].prompt == "a photo of mug on the beach"
    assert base.score("drift").value == pytest.approx(0, abs=1e-6)
    assert {each.metric: each.is_paired for each in scores.differences} == {
        "subject_fidelity": True,
        "prompt_fidelity": True,
        "diversity": True,
        "preservation": False,
        "drift": False,
    }
    html = (here / "table/evaluation.html").read_text()
    assert html.count("data-scores=") == 8


def test_pictures_older_than_the_adapter_are_made_anew_once_they_are_moved_away(here, capsys):
    few = ["--suite", "my.toml", "--set", 'metrics=["prompt_fidelity"]', "--set", "num=1", "--out", "later"]
    assert maquette("compare", "runs/mug", "base", *few) == 0
    kept = here / "runs/mug/evaluation/my/pictures"
    for picture in pictures(kept):
        os.utime(kept / picture, (1, 1))
    capsys.readouterr()
    assert maquette("compare", "runs/mug", "base", *few) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{kept.relative_to(here)}: made before the adapter was last written" in said
    assert said.endswith("Move this folder away, and its pictures are made anew.")
    kept.rename(here / "old")
    assert maquette("compare", "runs/mug", "base", *few) == 0


def test_an_adapter_of_other_origin_is_told_what_it_is(here):
    asked = ["--suite", "my.toml", "--base", "base", "--references", "photos", "--out", "elsewhere"]
    assert maquette("evaluate", "foreign.safetensors", *asked, "--subject", "sks mug", "--class", "cup") == 0
    shot = read_scores(here / "elsewhere/scores.json").evaluations[0].shots[0]
    assert (shot.prompt, shot.scored) == ("a photo of sks mug on the beach", "a photo of cup on the beach")


def test_a_model_of_the_hub_is_fetched_and_asked(here, monkeypatch):
    monkeypatch.setattr("maquette.families.hub.fetch_model", lambda name, *_: here / {"owner/model": "base"}[name])
    few = ["--set", 'metrics=["prompt_fidelity"]', "--set", "num=1"]
    assert maquette("evaluate", "owner/model", "--suite", "my.toml", "--class", "mug", *few) == 0
    shot = read_scores(here / "evaluation/owner--model/my/scores.json").evaluations[0].shots[0]
    assert shot.prompt == "a photo of mug on the beach"


def test_every_checkpoint_is_a_column(here):
    few = ["--set", 'metrics=["subject_fidelity"]', "--set", "num=1"]
    assert maquette("evaluate", "runs/mug", "--suite", "my.toml", "--checkpoint", "all", "--out", "steps", *few) == 0
    scores = read_scores(here / "steps/scores.json")
    assert [each.name for each in scores.evaluations] == ["step 2", "step 3"]
    assert scores.title == "mug"


def test_a_sweep_over_strengths_goes_into_the_card(here):
    few = ["--set", 'metrics=["subject_fidelity", "prompt_fidelity"]', "--set", "num=1"]
    assert maquette("evaluate", "runs/mug", "--suite", "my.toml", "--strengths", "0,0.5,1", *few) == 0
    scores = read_scores(here / "runs/mug/strengths.json")
    assert [each.strength for each in scores.evaluations] == [0, 0.5, 1]
    assert scores.strength is not None
    assert scores.strength.words in (here / "runs/mug/README.md").read_text()
    assert "as measured" in (here / "runs/mug/report.html").read_text()
    assert "Fidelity over strength" in (here / "runs/mug/evaluation/my/evaluation.html").read_text()


def test_finished_pictures_are_scored_style_by_style_with_the_contests_total(here, caplog, capsys):
    for concept in ("00", "01"):
        paint(here / "styles" / concept)
        paint(here / "entry" / concept, ("bicycle", "cat", "red boat"))
    assert maquette("evaluate", "--pictures", "entry", "--suite", "jittor-style", "--references", "styles") == 0
    scores = read_scores(here / "entry-jittor-style/scores.json")
    found = scores.evaluations[0]
    assert found.score("colour").concepts.keys() == {"00", "01"}
    assert [shot.scored for shot in found.shots[:3]] == ["bicycle", "cat", "red boat"]
    assert not found.score("quality").is_score  # the judge reads no such words, and says so
    assert not found.totals["total"] >= 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"quality Q {found.totals['quality Q']:.4f}, guard P no score, total no score" in shown
    page = (here / "entry-jittor-style/evaluation.html").read_text()
    assert "<dt>total</dt><dd>no score</dd>" in page
    assert f"<dt>quality Q</dt><dd>{found.totals['quality Q']:.4f}</dd>" in page
    assert "quality:" in caplog.text
    assert sorted(path.name for path in (here / "entry" / "00").iterdir()) == ["bicycle.png", "cat.png", "red boat.png"]


QUICKLY = ["--set", "sampling.steps=1", "--set", "sampling.guidance=1.0"]


@pytest.mark.parametrize(
    ("suite", "num", "shots", "unscored"),
    [
        ("world", 2, 26, set()),
        ("world-face", 1, 13, {"face_similarity", "diversity"}),
        ("world-style", 1, 15, {"diversity"}),  # without the mug, which training showed
        ("homework-face", 1, 25, {"face_distance", "face_similarity", "face_prompt_score"}),
        ("jittor-style", 1, 25, {"quality", "retrieval_5"}),
    ],
)
def test_every_packaged_suite_scores_a_run(here, suite, num, shots, unscored):
    assert maquette("evaluate", "runs/mug", "--suite", suite, *QUICKLY, "--set", f"num={num}") == 0
    (found,) = read_scores(here / f"runs/mug/evaluation/{suite}/scores.json").evaluations
    assert len(found.shots) == shots
    assert {score.name for score in found.scores if not score.is_score} == unscored


@pytest.fixture
def dreambooth(here: Path) -> Path:
    """A small copy of the data set."""
    folder = here / "dreambooth"
    for subject in ("cat2", "dog6"):
        paint(folder / subject)
    (folder / "prompts_and_classes.txt").write_text(DREAMBOOTH)
    return folder


def test_dreambooth_asks_a_run_for_the_subject_whose_folder_is_named(here, dreambooth):
    asked = ["--suite", "dreambooth", "--references", "dreambooth/dog6", *QUICKLY, "--set", "num=2"]
    assert maquette("evaluate", "runs/mug", *asked) == 0
    (found,) = read_scores(here / "runs/mug/evaluation/dreambooth/scores.json").evaluations
    assert [(shot.prompt, shot.scored, shot.concept) for shot in found.shots[::2]] == [
        ("a sks mug in a chef outfit", "a dog in a chef outfit", "dog6"),
        ("a wet sks mug", "a wet dog", "dog6"),
    ]
    assert [score.name for score in found.scores if score.is_score] == [
        "subject_fidelity",
        "image_similarity",
        "prompt_fidelity",
        "diversity",
        "preservation",
    ]


def test_dreambooth_reads_finished_pictures_as_those_of_the_subject_whose_folder_is_named(here, dreambooth):
    paint(here / "made", ("a sks dog in snow", "a photo of a sks dog"))
    asked = ["--suite", "dreambooth", "--references", "dreambooth/dog6", "--subject", "sks dog"]
    assert maquette("evaluate", "--pictures", "made", *asked) == 0
    (found,) = read_scores(here / "made-dreambooth/scores.json").evaluations
    assert [shot.scored for shot in found.shots] == ["a photo of a dog", "a dog in snow"]


@pytest.mark.parametrize(("base", "is_warned"), [("maquette-64", False), ("sd-turbo", True), (None, True)])
def test_the_judge_is_a_stranger_to_finished_pictures_of_another_base(here, caplog, base, is_warned):
    settings = {"prompt": "a red mug", "negative": "", "seed": 0, **({} if base is None else {"base": base})}
    for number in (1, 2):
        write_picture(here / f"of-{base}" / f"{number}.png", torch.zeros(3, 64, 64, dtype=torch.uint8), settings)
    few = ["--suite", "my.toml", "--set", 'metrics=["prompt_fidelity"]']
    assert maquette("evaluate", "--pictures", f"of-{base}", *few) == 0
    assert ("knows pictures of maquette-64 alone" in caplog.text) == is_warned


def test_without_a_face_in_any_picture_there_is_no_score_and_nothing_is_best(here, capsys):
    paint(here / "noise", ("a man", "a woman", "two men"), (64, 64))
    asked = ["--suite", "homework-face", "--references", "photos"]
    assert maquette("evaluate", "--pictures", "noise", *asked) == 0
    scores = {
        score.name: score for score in read_scores(here / "noise-homework-face/scores.json").evaluations[0].scores
    }
    assert (
        json.loads((here / "noise-homework-face/scores.json").read_text())["evaluations"][0]["scores"][0]["value"]
        is None
    )
    assert not scores["face_distance"].is_score
    assert scores["faceless"].value == 3
    assert "no score" in capsys.readouterr().out


MISTAKES = [
    (["evaluate"], ["Give one thing to evaluate", "--pictures FOLDER"]),
    (["evaluate", "runs/mgu"], ["runs/mgu: there is no such file or folder", "Did you mean runs/mug?"]),
    (["evaluate", "photos"], ["photos: holds no run, no adapter and no model", "--pictures photos"]),
    (["evaluate", "runs/mug", "--suite", "wrld"], ['no suite "wrld"', 'Did you mean "world"']),
    (
        ["evaluate", "runs/mug", "--set", 'metrics=["sbject_fidelity"]'],
        ["sbject_fidelity", "Did you mean subject_fidelity?"],
    ),
    (["evaluate", "runs/mug", "--checkpoint", "9"], ["--checkpoint 9", "best, all", "2, 3"]),
    (["evaluate", "runs/mug", "--checkpoint", "best"], ["there is no best/"]),
    (["evaluate", "base", "--checkpoint", "2"], ["is no run", "Leave it out"]),
    (["evaluate", "runs/mug", "--strengths", "1"], ["--strengths 1", "0,0.5,1"]),
    (["evaluate", "base", "--strengths", "0,1", "--references", "photos", "--class", "mug"], ["wears no adapter"]),
    (["evaluate", "runs/mug", "--suite", "homework-face", "--strengths", "0,1"], ["not measure prompt_fidelity"]),
    (
        ["evaluate", "runs/mug", "--suite", "my.toml", "--set", 'metrics=["diversity"]', "--strengths", "0,1"],
        ["not measure subject_fidelity or style_similarity or face_similarity, prompt_fidelity"],
    ),
    (["evaluate", "runs/mug", "--references", "absent"], ["absent: does not exist"]),
    (["evaluate", "runs/mug", "--references", "empty"], ["empty: holds no pictures"]),
    (["evaluate", "runs/mug", "--references", "several"], ["several folders (cat2, dog6)", "none is called photos"]),
    (["evaluate", "foreign.safetensors"], ["no real pictures of subject", "--references"]),
    (["evaluate", "foreign.safetensors", "--references", "photos"], ["--class dog", '--subject "sks dog"']),
    (["evaluate", "runs/mug", "--suite", "dreambooth"], ["no prompts_and_classes.txt"]),
    (["evaluate", "--pictures", "empty", "--references", "photos"], ["empty: holds no pictures to score"]),
    (["evaluate", "--pictures", "single", "--references", "photos"], ["single: holds a single picture"]),
    (["evaluate", "--pictures", "photos"], ["--references", "photos"]),
    (["evaluate", "--pictures", "photos", "--checkpoint", "2"], ["are made already"]),
    (["evaluate", "--pictures", "photos", "--base", "base"], ["--base", "are made already"]),
    (["evaluate", "--pictures", "photos", "--references", "photos", "--device", "tpu"], ["tpu", "no such device here"]),
    (
        [
            "evaluate",
            "--pictures",
            "photos",
            "--references",
            "photos",
            "--device",
            "tpu",
            "--networks",
            "networks.toml",
        ],
        ["tpu", "no such device here"],
    ),
    (["evaluate", "runs/mug", "--suite", "bare.toml"], ["preservation", 'shows = "class"']),
    (
        ["evaluate", "runs/mug", "--suite", "my.toml", "--set", "num=1", "--set", 'prompts=[{text="a [subject]"}]'],
        ["drift"],
    ),
    (["evaluate", "runs/mug", "--judge", "jury"], ["jury"]),
    (["compare", "runs/mug"], ["nothing to compare with"]),
    (["compare", "runs/mug", "runs/mug"], ["runs/mug is named twice"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(arguments)[:60] for arguments, _ in MISTAKES])
def test_a_mistake_is_one_paragraph_before_a_picture_is_made(here, capsys, monkeypatch, arguments, words):
    (here / "empty").mkdir(exist_ok=True)
    paint(here / "single", ("one",))
    for concept in ("cat2", "dog6"):
        paint(here / "several" / concept, ("one",))
    (here / "networks.toml").write_text('device = "cpu"\n')
    (here / "bare.toml").write_text('metrics = ["preservation"]\n[[prompts]]\ntext = "a [subject]"\n')
    monkeypatch.setattr("maquette.evaluation.evaluate.make_pictures", lambda *_: pytest.fail("made pictures first"))
    assert maquette(*arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert [word for word in words if word not in said] == []
    assert "Traceback" not in said


def test_a_single_picture_has_no_interval_and_is_refused(here, capsys):
    (here / "one.toml").write_text('metrics = ["prompt_fidelity"]\n[[prompts]]\ntext = "a [subject]"\n')
    assert maquette("evaluate", "runs/mug", "--suite", "one.toml") == 2
    assert "asks for a single picture" in capsys.readouterr().err


def test_a_run_whose_photos_are_gone_asks_for_them(here, capsys):
    (here / "photos").rename(here / "moved")
    try:
        assert maquette("evaluate", "runs/mug", "--suite", "my.toml") == 2
        assert "no real pictures of photos" in capsys.readouterr().err
        assert maquette("evaluate", "runs/mug", "--suite", "my.toml", "--references", "moved") == 0
    finally:
        (here / "moved").rename(here / "photos")
