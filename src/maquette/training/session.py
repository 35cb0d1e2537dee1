"""A run from its configuration to its files: the only consumer of the loop that writes anything."""

import logging
import math
import time
from collections.abc import Iterable, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from maquette.adapters.base import Trainable
from maquette.adapters.keys import Layout
from maquette.config.schema import RunConfig
from maquette.data.sample import Scan
from maquette.errors import Interrupted
from maquette.generation.memory import enough_memory
from maquette.generation.sample import Request
from maquette.report.card import write_card
from maquette.report.html import write_report
from maquette.runs.events import (
    Event,
    Finished,
    Group,
    Grouped,
    Saved,
    Started,
    Step,
    Warned,
    append_events,
    keep_until,
    read_events,
)
from maquette.runs.rundir import RunDir, create_run
from maquette.training.best import keep_best
from maquette.training.checked import checked
from maquette.training.checkpoint import (
    all_checkpoints,
    checkpoint_path,
    environment_warnings,
    newest_checkpoint,
    prune,
    write_checkpoint,
)
from maquette.training.console import training_line
from maquette.training.finish import export_result, export_step
from maquette.training.guard import check_finite
from maquette.training.loop import Progress, StepStats, train
from maquette.training.prepare import Job
from maquette.training.previews import make_previews
from maquette.training.processes import ALONE, Processes
from maquette.training.ready import ready
from maquette.training.runtime import memory_in_use
from maquette.training.schedule import rate_at
from maquette.training.scoring import Scoring
from maquette.training.seeds import rng_at
from maquette.training.signals import breaking_off, stopping, wishes
from maquette.training.state import pieces_of, restore
from maquette.training.trackers import Tracker, open_trackers
from maquette.training.validation import validated

logger = logging.getLogger(__name__)

LESS_MEMORY = (
    "Set training.batch_size = 1 (and gradient_accumulation instead), training.gradient_checkpointing = true, "
    'model.precision = "bf16", or a lower data.resolution'
)


def run(config: RunConfig, *, out: Path, resume: bool = False, processes: Processes = ALONE) -> RunDir:
    """Train as a configuration says; what comes out lies in ``out``.

    resume: go on from the newest checkpoint of the run in ``out``. processes: who shares the work, all with the same
    arguments (`processes.together`). Raises a MaquetteError for anything wrong with the request, and Interrupted, with
    a checkpoint saved, when asked to stop.
    """
    found = checked(config, out, resume=resume, processes=processes)
    processes.meet()  # nothing is written before all have looked
    if processes.is_first and not resume:
        create_run(out)
    directory = RunDir(out)
    with enough_memory(LESS_MEMORY), breaking_off():
        session = Session(*ready(found, directory, processes))
        session.open(resume=resume)
        session.train()
        session.close()
    return directory


@dataclass(slots=True, eq=False)
class Session:
    """A job under way, and where it is told, drawn and saved.

    scan: what it learns from. scoring: what is scored along the way, if anything. warnings: what to say at the
    beginning. seconds_before: what earlier sittings of the same run took. is_over: it ends early (evaluation.patience).
    """

    job: Job
    directory: RunDir
    layout: Layout
    requests: Sequence[Sequence[Request]]
    scan: Scan
    scoring: Scoring | None
    warnings: Sequence[str]
    progress: Progress = field(default_factory=Progress)
    checkpoint: Path | None = None
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    is_over: bool = False

    def open(self, *, resume: bool) -> None:
        """Begin the log, or go on with it from the newest checkpoint."""
        if resume and all_checkpoints(self.directory.checkpoints):
            self._restore()
        elif self.is_first and self.directory.events.exists():
            keep_until(self.directory.events, -1)  # killed before the first checkpoint: nothing of it counts
        self._tell([Started(self.progress.step, self.job.steps)])
        if self.progress.step == 0:
            self._tell([Grouped(0, _groups(self.job.trainable))])
            self._warn(self.warnings)

    def train(self) -> None:
        """Run the loop to its end, doing beside it whatever is due."""
        job, config, progress = self.job, self.job.config, self.progress
        with (
            stopping(launched=job.runtime.processes.count > 1) as stop,
            training_line(job.steps, shown=self.is_first) as line,
            open_trackers(config.logging, self.directory) if self.is_first else nullcontext(_untracked) as track,
        ):
            if progress.step == 0:
                self._do(self._due(0), track)
            elif self._ends():
                return
            window: list[StepStats] = []
            seen, read_at = progress.images_seen, time.monotonic()
            for stats in train(
                job.trainable,
                job.objective,
                job.dataset.batches_at,
                job.optimizer,
                rate_at(config.schedule, job.steps),
                progress,
                steps=job.steps,
                rng_at=lambda step, micro: rng_at(config.training.seed, step, micro),
                max_grad_norm=config.training.max_grad_norm or math.inf,
                runtime=job.runtime,
            ):
                window.append(stats)
                if job.ema is not None:
                    job.ema.update(stats.images_seen - seen, stats.images_seen)
                seen = stats.images_seen
                # Read once: a signal from here on is the next step's.
                stopped_by, wanted = wishes(stop, self.directory.root, job.runtime.processes)
                due = self._due(stats.step) | wanted | ({"save"} if stopped_by else set())
                if due or stats.step % config.logging.every == 0:
                    event = self._read(window, time.monotonic() - read_at)
                    line.update(event, len(window))
                    track(event)
                    self._do(due, track)
                    window, read_at = [], time.monotonic()
                if self.is_over:
                    self._do(self._due(stats.step, is_last=True) - due, track)
                    return
                if stopped_by:
                    if self.is_first:
                        write_report(self.directory)
                    raise Interrupted(
                        f"stopped by {stopped_by} after step {stats.step}; a checkpoint is saved. "
                        f"Go on with: maquette train --resume --out {self.directory.root}"
                    )

    def close(self) -> None:
        """Write what the run is for, and the pages about it."""
        if not self.is_first:
            return
        paths = export_result(self.job, self.directory, self.layout)
        self._tell([Finished(self.progress.step, self._seconds())])
        write_card(self.directory)
        write_report(self.directory)
        for path in (*paths, self.directory.report):
            logger.info("wrote %s", path)

    def _due(self, step: int, *, is_last: bool = False) -> set[str]:
        """What to do after a step, by its name."""
        config, last = self.job.config, is_last or step == self.job.steps
        every = {
            "validate": config.validation.every if config.validation else 0,
            "preview": config.preview.every,
            "score": self.scoring.every if self.scoring else 0,
            "save": config.checkpoints.every,
        }
        return {name for name, steps in every.items() if steps and (last or step % steps == 0)}

    def _do(self, due: Set[str], track: Tracker) -> None:
        """Saving comes last: what a checkpoint's step made is then in the log that the checkpoint is resumed with."""
        step = self.progress.step
        if self.is_first:
            scores: list[Event] = [*validated(self.job, step)] if "validate" in due else []
            if self.scoring is not None and "score" in due:
                scores += self.scoring.score(self.job, self.directory, step)
            self._tell(scores)
            for event in scores:
                track(event)
            if step and due & {"score", "save"}:
                export_step(self.job, self.directory, self.layout, step)
        if step and due & {"score", "save"}:
            self.is_over = self.is_over or self._ends()
        if not self.is_first:
            self.checkpoint = checkpoint_path(self.directory.checkpoints, step) if "save" in due else self.checkpoint
            return
        if "preview" in due:
            for told in make_previews(self.job, self.directory, step, self.requests):
                self._tell([told])
        if "save" in due:
            self._save()

    def _ends(self) -> bool:
        """Bring best/ up to date; whether the run ends early with it, which all processes are told."""
        ended = []
        if self.is_first:
            self._warn(ended := keep_best(self.job, self.directory, self.layout, self.scoring, self.progress.step))
        if not self.job.config.evaluation.patience:
            return False
        return any(flag for (flag,) in self.job.runtime.processes.meet(len(ended)))

    def _read(self, window: Sequence[StepStats], seconds: float) -> Step:
        """Read the losses of the steps since the last reading, at once; stop the run if one of them is not finite."""
        losses = torch.stack([stats.loss for stats in window]).tolist()
        norms = torch.stack([stats.grad_norm for stats in window]).tolist()
        for stats, loss, norm in zip(window, losses, norms, strict=True):
            # Loss scaling skips a step whose gradient overflows, and tries a smaller scale: that is no fault.
            norm_here = norm if self.job.runtime.scaler is None else 0.0
            check_finite(stats.step, loss, norm_here, self.job.dataset.names_at, self.checkpoint)
        last = window[-1]
        loss, norm = sum(losses) / len(losses), sum(norms) / len(norms)
        event = Step(last.step, last.images_seen, loss, norm, seconds, last.lr, memory_in_use(self.job.runtime.device))
        self._tell([event])
        return event

    def _save(self) -> None:
        step = self.progress.step
        if self.checkpoint is not None and self.checkpoint.name == checkpoint_path(Path(), step).name:
            return
        pieces = pieces_of(self.job, self.progress, self.scan.usable(), self._seconds())
        self._saved(write_checkpoint(self.directory.checkpoints, step, pieces))

    def _saved(self, path: Path) -> None:
        """What follows a checkpoint. The log says so last: where it does not, a kill came between."""
        self.checkpoint, step = path, self.progress.step
        prune(self.directory.checkpoints, self.job.config.checkpoints.keep)
        self._tell([Saved(step, self.directory.relative(path))])

    def _restore(self) -> None:
        saved = newest_checkpoint(self.directory.checkpoints)
        self.seconds_before = restore(self.job, self.progress, self.scan.usable(), saved)
        self.checkpoint = saved.path
        if not self.is_first:
            return
        self.directory.events.touch()  # where somebody took it away, the log begins here
        keep_until(self.directory.events, saved.step)
        if all(event.step != saved.step for event in read_events(self.directory.events).of(Saved)):
            self._saved(saved.path)
        self._warn(environment_warnings(saved.environment))

    def _warn(self, messages: Iterable[str]) -> None:
        for message in messages:
            logger.warning(message)
            self._tell([Warned(self.progress.step, message)])

    def _tell(self, events: Sequence[Event]) -> None:
        if self.is_first and events:
            append_events(self.directory.events, events)

    @property
    def is_first(self) -> bool:
        """Whether this process writes: the only one, or the first of several."""
        return self.job.runtime.processes.is_first

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started


def _untracked(event: Event) -> None:
    """The tracker of the processes that do not write."""


def _groups(trainable: Trainable) -> tuple[Group, ...]:
    """What is trained, by learning rate, for the report."""
    return tuple(
        Group(group.name, group.lr, group.weight_decay, len(group.params), sum(p.numel() for p in group.params))
        for group in trainable.groups
    )
