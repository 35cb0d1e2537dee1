"""Two processes under torchrun: what they make is what one process makes, and they stop and fail together."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from tests.learning.small import PROMPT, QUICK, events, paint, sets, train

import maquette
from maquette.errors import ConfigError
from maquette.runs.best import read_best
from maquette.runs.events import Scored, Step
from maquette.runs.rundir import RunDir
from maquette.training.launch import check_launcher
from maquette.training.processes import Processes, check_share

SETTINGS: Mapping[str, object] = {
    "training.steps": 3,
    "training.gradient_accumulation": 4,
    "training.ema": {"half_life_images": 10.0},
    "adapter.dropout": 0.2,
    "text_encoder.train": "lora",
    "text_encoder.stop": 0.7,
    "class_images.prompt": "a dog",
    "class_images.count": 2,
    "class_images.steps": 1,
    "validation.hold_out": 0.2,
    "validation.every": 3,
    "data.flip": True,
    "checkpoints.every": 2,
}
"""Everything at once: sizes that share steps unevenly, class images, dropout, a group that halts, an average."""

SCORED: Mapping[str, object] = {
    "training.steps": 4,
    "training.gradient_accumulation": 2,
    "data.upscale": True,
    "evaluation.every": 1,
    "evaluation.num": 1,
    "evaluation.steps": 2,
    "evaluation.prompts": ["[trigger] at sea"],
    "evaluation.patience": 2,
}
"""Pictures of the embedded base, scored after every step; the run ends when they have been better before."""

pytestmark = pytest.mark.timeout(600)

# One rounding of a sum of gradients in fp32, and what three steps of Adam at a rate of 0.01 make of it.
CLOSE = {"rtol": 1e-4, "atol": 2e-6}


class Launched(NamedTuple):
    """The work folder of the two processes, and what each of them told of each scenario."""

    work: Path
    told: tuple[dict, dict]

    def of(self, scenario: str) -> tuple[dict, dict]:
        return self.told[0][scenario], self.told[1][scenario]


def alone(work: Path, base: Path, out: Path, **settings: object) -> RunDir:
    given = {key.replace(".", "__"): value for key, value in SETTINGS.items()}
    return train(work / "photos", base, out, **{**given, **settings})


@pytest.fixture(scope="module")
def whole(bases: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The run in one process."""
    work = tmp_path_factory.mktemp("several")
    paint(work / "photos", ("one", "two", "three", "four", "five"))
    paint(work / "photos", ("lying",), size=(16, 48))
    return alone(work, bases("sd1"), work / "alone" / "dog")


@pytest.fixture(scope="module")
def launched(whole: RunDir, bases: Callable[[str], Path]) -> Launched:
    work = whole.root.parents[1]
    shutil.copytree(work / "photos", work / "photos-0")
    paint(work / "photos-1", ("other", "others"))
    # What one process has left after two of three steps, to be resumed by two.
    shutil.copytree(whole.root, work / "grown" / "dog")
    shutil.rmtree(work / "grown" / "dog" / "checkpoints" / "step-00000003")

    def command(out: str, photos: str = "photos", **settings: object) -> str:
        given = {**QUICK, **SETTINGS, **{key.replace("__", "."): value for key, value in settings.items()}}
        new = [str(work / photos), "--prompt", PROMPT, "--base", str(bases("sd1"))]
        return shlex.join(["train", *new, "--out", str(work / out), *(f"--set={part}" for part in sets(given))])

    embedded = ["--base", "maquette-64", "--out", str(work / "scored" / "dog")]
    world = [str(work / "photos"), "--prompt", PROMPT, *embedded]
    scenarios = {
        "whole": command("whole/dog"),
        "grown": shlex.join(["train", "--resume", "--out", str(work / "grown" / "dog")]),
        "stop": command("stop/dog"),
        "fails": command("fails"),
        "nan": command("nan"),
        "uneven": command("uneven", training__gradient_accumulation=3),
        "scored": shlex.join(["train", *world, *(f"--set={part}" for part in sets({**QUICK, **SCORED}))]),
        "mistake": command("mistake", adapter__rnk=3),
        "pictures": command("pictures", photos="photos-{rank}"),
    }
    (work / "scenarios.json").write_text(json.dumps(scenarios))
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{Path(maquette.__file__).parent.parent}{os.pathsep}{root}",
    }
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(root / "tests" / "learning" / "several.py"), str(work)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Launched(work, tuple(json.loads((work / f"results-{rank}.json").read_text()) for rank in (0, 1)))


def assert_same(one: RunDir, other: RunDir) -> None:
    for name in ("dog.safetensors", "raw/dog.safetensors"):
        tensors, expected = (load_file(run.export / name) for run in (one, other))
        assert tensors.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(tensors[key], value, **CLOSE, msg=lambda text, key=key: f"{key}: {text}")


def test_two_processes_make_what_one_makes(launched, whole):
    run = RunDir(launched.work / "whole" / "dog")
    assert [told["code"] for told in launched.of("whole")] == [0, 0]
    assert_same(run, whole)
    start = load_file(run.export / "steps" / "dog-step00000002.safetensors")
    end = load_file(run.export / "raw" / "dog.safetensors")
    moved = max(float((start[key] - end[key]).abs().max()) for key in start)
    assert moved > 1000 * CLOSE["atol"]  # or being the same would say little
    for kind, field in ((Step, "loss"), (Step, "grad_norm"), (Scored, "value")):
        values, expected = ([getattr(e, field) for e in events(each).of(kind)] for each in (run, whole))
        assert values == pytest.approx(expected, rel=1e-4)
    seen = [[event.images_seen for event in events(each).of(Step)] for each in (run, whole)]
    assert seen[0] == seen[1]


def test_what_is_made_once_is_made_once_and_the_first_writes(launched, whole):
    run, (first, second) = RunDir(launched.work / "whole" / "dog"), launched.of("whole")
    files = [
        {path.relative_to(each.root).as_posix() for path in each.root.rglob("*") if path.is_file()}
        for each in (run, whole)
    ]
    assert files[0] == files[1]
    pictures = list((run.root / "class_images").rglob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        assert path.read_bytes() == (whole.root / path.relative_to(run.root)).read_bytes()
    # 8 pictures, each as it is and mirrored: half of the encoding in either process, none of it twice.
    assert first["encoded"] + second["encoded"] == 16
    assert min(first["encoded"], second["encoded"]) >= 6
    assert "Report:" in first["said"]
    assert second["said"] == ""


def test_a_run_goes_on_in_another_number_of_processes(launched, whole):
    """Noise and pictures belong to the micro-batch of a step, whichever process computes it."""
    assert [told["code"] for told in launched.of("grown")] == [0, 0]
    assert "processes: 1 -> 2" in launched.of("grown")[0]["said"]
    assert_same(RunDir(launched.work / "grown" / "dog"), whole)


def test_pictures_are_scored_by_the_first_and_all_hear_when_that_ends_the_run(launched, whole):
    assert [told["code"] for told in launched.of("scored")] == [0, 0]
    run = RunDir(launched.work / "scored" / "dog")
    settings = {key.replace(".", "__"): value for key, value in SCORED.items()}
    expected = train(launched.work / "photos", Path("maquette-64"), launched.work / "scored alone" / "dog", **settings)
    scores, expected_scores = (events(each).of(Scored) for each in (run, expected))
    assert {event.step for event in scores} >= {0, 1, 2}
    told = [[(event.step, event.name) for event in each] for each in (scores, expected_scores)]
    assert told[0] == told[1]
    # The weights differ by roundings, which two steps of sampling and the judge make no larger than this.
    assert [e.value for e in scores] == pytest.approx([e.value for e in expected_scores], rel=1e-3, abs=1e-3)
    assert read_best(run).step == read_best(expected).step
    assert len(events(run).of(Step)) == len(events(expected).of(Step))


def test_asked_to_stop_in_one_process_all_stop_at_one_step(launched, whole, bases):
    first, second = launched.of("stop")
    assert (first["code"], second["code"]) == (130, 130)
    assert "stopped by SIGTERM after step 2; a checkpoint is saved" in first["said"]
    assert second["said"] == ""
    run = RunDir(launched.work / "stop" / "dog")
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000000", "step-00000002"]
    assert_same(alone(launched.work, bases("sd1"), run.root, resume=True), whole)


def test_an_error_in_one_process_ends_all_and_is_told_once(launched):
    first, second = launched.of("fails")
    assert (first["code"], second["code"]) == (2, 2)
    assert "error" not in first["said"]
    assert second["said"] == "error: two.png: is gone. Put it back.\n"


def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_the_step(launched):
    first, second = launched.of("nan")
    assert (first["code"], second["code"]) == (2, 2)
    assert "step 1: the loss is not finite" in first["said"]
    assert ".png" in first["said"]
    assert second["said"] == ""


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("uneven", "Set training.gradient_accumulation = 4 (or another multiple of 2)"),
        ("mistake", "Did you mean adapter.rank?"),
        ("pictures", "do not have the same settings, pictures and captions"),
    ],
)
def test_mistakes_are_told_once(scenario, said, launched):
    first, second = launched.of(scenario)
    assert (first["code"], second["code"]) == (2, 2)
    assert said in first["said"]
    assert first["said"].count("error:") == 1
    assert second["said"] == ""
    assert (launched.work / scenario).exists() == (scenario == "pictures")  # the others are found before anything


def test_gradients_are_added_wherever_there_is_one(launched):
    first, second = launched.of("sums")
    assert first == second
    assert first == {
        "both": [3.0, 3.0],
        "second": [5.0, 5.0],
        "none": None,
        "loss": 1.0,
        "images": 7,
        "overflowed": [1.0, 1.0],  # neither process moved
        "scale": 2.0,
    }


def test_a_step_is_shared_evenly_or_not_at_all():
    check_share(4, Processes(0, 2))
    check_share(3, Processes())
    with pytest.raises(ConfigError, match=r"4 cannot share 6 evenly.*= 8 "):
        check_share(6, Processes(1, 4))
    assert [list(Processes(rank, 3).share(7)) for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16", "model.precision"),
        ("ACCELERATE_USE_FSDP", "true", "FSDP"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", r"training\.gradient_accumulation"),
    ],
)
def test_settings_of_accelerate_that_would_have_no_effect_are_refused(variable, value, told, monkeypatch):
    check_launcher()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=told):
        check_launcher()
