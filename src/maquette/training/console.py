"""What a person sees of a run in the terminal: one live line, or plain lines where the output is no terminal."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from maquette.runs.events import Step

SMOOTHING = 0.98
"""Decay per step of the average of the loss that is shown: one step's loss is mostly the noise level that was drawn."""

PLAIN_SECONDS = 10.0


@dataclass(slots=True)
class Line:
    """The progress line of a training run."""

    steps: int
    show: Callable[[int, str], None]
    smoothed: float | None = None
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    first: int | None = None

    def update(self, event: Step, steps: int) -> None:
        """Take in the record of the last ``steps`` steps."""
        if self.first is None:
            self.first = event.step - steps
        keep = SMOOTHING**steps
        self.smoothed = event.loss if self.smoothed is None else keep * self.smoothed + (1 - keep) * event.loss
        rate = (event.step - self.first) / max(1e-9, time.monotonic() - self.started)
        left = timedelta(seconds=round((self.steps - event.step) / max(rate, 1e-9)))
        lr = max(event.lr.values())
        memory = "" if event.memory_bytes is None else f" · {event.memory_bytes / 2**30:.1f} GB"
        self.show(
            event.step,
            f"step {event.step}/{self.steps} · {rate:.2f} it/s · loss {self.smoothed:.4f} · lr {lr:.2e}{memory} · "
            f"{left} left",
        )


@contextmanager
def training_line(steps: int, *, shown: bool = True) -> Generator[Line]:
    """A live line while the block trains; ``shown`` in one of several processes."""
    console = Console(stderr=True)
    if not shown:
        yield Line(steps, lambda _step, _text: None)
        return
    if not console.is_terminal:
        yield Line(steps, _plain(steps))
        return
    with Progress(BarColumn(bar_width=30), TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=steps)
        yield Line(steps, lambda step, text: progress.update(task, completed=step, description=text))


def _plain(steps: int) -> Callable[[int, str], None]:
    """Lines now and then, and one at the end."""
    last = 0.0

    def show(step: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_SECONDS or step == steps:
            last = now
            sys.stderr.write(text + "\n")

    return show


@contextmanager
def counting(what: str, *, shown: bool = True) -> Generator[Callable[[int, int, str], None]]:
    """A bar for work of known length: call it with (done, total, name) after each piece."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed}/{task.total}"),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total, name: progress.update(task, completed=done, total=total, description=f"{what} {name}")
