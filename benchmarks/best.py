"""Is best/ the best? python -m benchmarks.best --out FOLDER [--seeds 3] [--steps 300] [--lr 5e-4] [--jobs 1]

For each of twelve held-out subjects of the world (or those that --subjects names) and some seeds: the preset
maquette64-subject-lora is trained on five photos, for twice its steps, and scores itself by its own rule six times (the
judge, on the run's own prompts). --lr 2e-3 is four times the preset's rate.

Every checkpoint then makes pictures of held-out prompts, in places, media and seeds that the run never scored, and the
verifier, trained apart from the judge, compares them with unseen renders of the subject and with their prompts. The
balance (docs/evaluation.md) of the verifier's scores is what a checkpoint is worth.

The best of all checkpoints is known only from noisy scores, and the highest of six is an overstatement: it is picked by
one half of the held-out pictures and valued by the other, both ways round. Intervals are bootstrap intervals over runs.

At most 312 pictures a run: 16 in each of its own seven scorings, 30 of each of six checkpoints, and 20 of the base.
Interrupted, it goes on where it stopped: what has been measured lies in FOLDER/results.jsonl, line by line, and runs
resume. --table prints the table of what is there.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.lines import add_line, read_lines
from benchmarks.seen import HELD_OUT, SAMPLING_STEPS, among, mean, painted, renders, seen
from maquette.config.load import load_config
from maquette.embedded.folders import subject_pictures, write_folder
from maquette.embedded.scene import held_out_subject
from maquette.evaluation.bootstrap import mean_interval
from maquette.evaluation.choice import Reading, Scale
from maquette.evaluation.judges import load_judge
from maquette.evaluation.metric import Pictures
from maquette.evaluation.wording import with_article
from maquette.generation.batch import Maker, opened
from maquette.generation.sample import Picture, Request, painter
from maquette.runs.best import read_best
from maquette.runs.events import Scored, read_events
from maquette.runs.names import DIVERSITY, DRIFT
from maquette.runs.rundir import RunDir
from maquette.training.finish import step_file
from maquette.training.series import is_finished
from maquette.training.session import run

CHECKPOINTS: Final = 6
SEEDS: Final = range(500, 503)
RENDERS: Final = 12
RESULTS: Final = "results.jsonl"
IMAGES_A_SECOND: Final = 43.0
"""Of training, on one core. Source: docs/speed.md, the embedded base at batch 4."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run: a held-out subject of the world, and the seed, steps and learning rate of its training."""

    subject: int
    seed: int
    steps: int
    lr: float
    out: Path

    @property
    def run(self) -> RunDir:
        """Its folder."""
        return RunDir(self.out / f"subject-{self.subject:02d}-seed-{self.seed}")

    @property
    def results(self) -> Path:
        """The file of what has been measured."""
        return self.out / RESULTS

    @property
    def checkpoints(self) -> list[int]:
        """The steps that are compared."""
        return [round(self.steps * (i + 1) / CHECKPOINTS) for i in range(CHECKPOINTS)]


def measure(task: Task) -> None:
    """Train, unless that is done, and add what the verifier sees of every checkpoint to the results."""
    torch.set_num_threads(1)
    train(task)
    done = {(row["subject"], row["seed"], row["step"]) for row in read_lines(task.results)}
    kind = held_out_subject(task.subject).kind
    if (task.subject, None, 0) not in done:
        learned = verified(task.subject, made(None, f"sks {kind}", [SEEDS[0]]))
        plain = verified(task.subject, made(None, with_article(kind), [SEEDS[0]]))
        real = among(load_judge("verifier").instance_features(renders(task.subject, RENDERS)))
        scale = {"untouched": mean(learned["like"]), "real": real, "followed": mean(plain["prompt"])}
        add_line(
            task.results, {"subject": task.subject, "seed": None, "step": 0, **scale, "ignored": mean(plain["others"])}
        )
    for step in task.checkpoints:
        if (task.subject, task.seed, step) not in done:
            pictures = made(step_file(task.run, step), f"sks {kind}", SEEDS)
            row = {"subject": task.subject, "seed": task.seed, "step": step, **verified(task.subject, pictures)}
            add_line(task.results, row)


def train(task: Task) -> None:
    """The run of a task, with its own scores and choice; one that has been begun goes on."""
    if is_finished(task.run):
        return
    photos = task.out / f"photos-{task.subject:02d}-seed-{task.seed}"
    if not photos.exists():
        write_folder(subject_pictures(task.subject, 5, seed=0, token="sks"), photos)
    every = task.steps // CHECKPOINTS
    settings = {
        "training.steps": task.steps,
        "training.seed": task.seed,
        "optimizer.lr": task.lr,
        "checkpoints.every": every,
        "checkpoints.keep": 1,
        "evaluation.every": every,
        "evaluation.num": 3,
        "evaluation.steps": SAMPLING_STEPS,
        "preview.every": 0,
        "logging.trackers": "[]",
    }
    sets = [f"{key}={value}" for key, value in settings.items()]
    config = load_config(preset="maquette64-subject-lora", flags={"SOURCE": photos}, sets=sets)
    run(config, out=task.run.root, resume=task.run.config.is_file())


def made(adapter: Path | None, name: str, seeds: Sequence[int]) -> list[Picture]:
    """Pictures of the held-out prompts, the seeds of each prompt together."""
    return painted(adapter, [prompt.format(name) for prompt in HELD_OUT], seeds)


def verified(subject: int, pictures: Sequence[Picture]) -> dict[str, list[float]]:
    """What the verifier makes of each picture: likeness, its own prompt, and the mean of the other prompts."""
    verifier = load_judge("verifier")
    texts = [prompt.format(with_article(held_out_subject(subject).kind)) for prompt in HELD_OUT]
    references = verifier.instance_features(renders(subject, RENDERS))

    def features(images: Pictures) -> Tensor:
        return verifier.instance_features(torch.stack(list(images)))

    return asdict(seen(verifier, features, references, pictures, texts))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the checkpoints of one run are worth by the verifier; best: picked by one half, valued by the other.

    step: the chosen one. diversity, drift: by the run's own scores, of the chosen one less the last's.
    """

    chosen: float
    best: float
    last: float
    random: float
    is_highest: bool
    step: int
    diversity: float
    drift: float


def outcome(task: Task, found: Sequence[dict]) -> Outcome | None:
    """The outcome of a run; None where it is not measured whole."""
    base = next((row for row in found if row["subject"] == task.subject and row["step"] == 0), None)
    own = {row["step"]: row for row in found if (row["subject"], row["seed"]) == (task.subject, task.seed)}
    best = read_best(task.run)
    if base is None or best is None or any(step not in own for step in task.checkpoints):
        return None
    scale = Scale(base["untouched"], base["real"], base["ignored"], base["followed"])

    def worth(step: int, part: slice = slice(None)) -> float:
        return scale.of(Reading(step, tuple(own[step]["like"][part]), tuple(own[step]["prompt"][part])))

    halves = (slice(0, None, 2), slice(1, None, 2))
    crossed = [
        worth(max(task.checkpoints, key=lambda step, part=part: worth(step, part)), other)
        for part, other in (halves, halves[::-1])
    ]
    all_of = {step: worth(step) for step in task.checkpoints}
    scores = {(score.step, score.name): score.value for score in read_events(task.run.events).of(Scored)}
    ends = {name: scores[best.step, name] - scores[task.checkpoints[-1], name] for name in (DIVERSITY, DRIFT)}
    return Outcome(
        chosen=all_of[best.step],
        best=mean(crossed),
        last=all_of[task.checkpoints[-1]],
        random=mean(list(all_of.values())),
        is_highest=all_of[best.step] == max(all_of.values()),
        step=best.step,
        diversity=ends[DIVERSITY],
        drift=ends[DRIFT],
    )


def table(tasks: Sequence[Task], out: Path) -> str:
    """The outcomes of all runs that are measured, in Markdown."""
    found = read_lines(out / RESULTS)
    outcomes = [each for task in tasks if (each := outcome(task, found)) is not None]
    if len(outcomes) < 2:
        return f"{len(outcomes)} of {len(tasks)} runs are measured; a table takes two."
    lines = [
        f"{len(outcomes)} runs",
        "",
        "| checkpoint | balance by the verifier | chosen less this |",
        "|---|---|---|",
    ]
    for name, value in (
        ("chosen by the run (`best/`)", lambda o: o.chosen),
        ("best of six by held-out prompts", lambda o: o.best),
        ("mean of six", lambda o: o.random),
        ("last", lambda o: o.last),
    ):
        lines.append(
            f"| {name} | {told([value(o) for o in outcomes])} | {told([o.chosen - value(o) for o in outcomes])} |"
        )
    share = mean([float(o.is_highest) for o in outcomes])
    mean_step = mean([o.step for o in outcomes])
    told_of = [
        f"The chosen one is the verifier's highest in {share:.0%} of the runs, and at step {mean_step:.0f} of "
        f"{tasks[0].steps} on average.",
        f"By the run's own scores, chosen less last: diversity {told([o.diversity for o in outcomes])}, drift "
        f"{told([o.drift for o in outcomes])}.",
    ]
    return "\n".join([*lines, "", *told_of])


def told(values: Sequence[float]) -> str:
    """A mean over runs with its 95 % interval."""
    column = torch.tensor(values, dtype=torch.float64)
    low, high = mean_interval(column, torch.full_like(column, 1 / len(values)))
    return f"{mean(values):+.3f} ({low:+.3f} to {high:+.3f})"


def told_budget(tasks: Sequence[Task], jobs: int) -> str:
    """What is left to do, and about how long it takes."""
    with opened(Maker("maquette-64", [])) as family, painter(family) as paint:
        paint(Request(prompt="a photo of a mug", seed=0, steps=2))
        started = time.process_time()
        paint(Request(prompt="a photo of a mug", seed=0, steps=SAMPLING_STEPS))
        seconds = time.process_time() - started
    own = (CHECKPOINTS + 1) * 16 + CHECKPOINTS * len(HELD_OUT) * len(SEEDS) + 2 * len(HELD_OUT)
    hours = sum(own * seconds + 4 * task.steps / IMAGES_A_SECOND for task in tasks) / 3600
    return (
        f"{len(tasks)} runs to go, each of {tasks[0].steps} steps and at most {own} pictures of {seconds:.2f} s: about "
        f"{hours:.1f} hours of one core, {hours / jobs:.1f} with --jobs {jobs}."
    )


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description="Whether best/ is the best checkpoint.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", type=int, nargs="+", default=list(range(12)), help="their numbers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one core each")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(i, seed, options.steps, options.lr, options.out) for seed in range(options.seeds) for i in options.subjects
    ]
    console, found = Console(), read_lines(options.out / RESULTS)
    left = [task for task in tasks if outcome(task, found) is None]
    if left and not options.table:
        console.print(told_budget(left, options.jobs))
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            for task, _ in zip(left, pool.map(measure, left), strict=True):
                console.print(f"measured: {task.run.root.name}")
    console.print(table(tasks, options.out), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
