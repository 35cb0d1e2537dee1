"""Several arms taking turns: whatever else the machine does falls on all of them alike."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.arms import Arm, Setting


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of an arm took, a step: seconds by the clock and of the processors; and its peak memory so far."""

    wall: float
    processor: float
    peak: int


def measured(arms: Sequence[Arm], setting: Setting, work: Path) -> Mapping[Arm, Sequence[Turn]]:
    """The turns of all arms. Starting, loading, encoding, the first step and the first turn are not counted.

    Raises RuntimeError, with the end of its log, where an arm ends early.
    """
    turns: dict[Arm, list[Turn]] = {arm: [] for arm in arms}
    with ExitStack() as stack:
        running = {arm: stack.enter_context(started(arm, setting, work / str(i))) for i, arm in enumerate(arms)}
        for arm, process in running.items():
            _read(arm, process, work)
        for number in range(setting.rounds + 1):
            for arm in arms if number % 2 else arms[::-1]:
                _go(running[arm])
                turn = Turn(**_read(arm, running[arm], work))
                turns[arm] += [turn] if number else []
        for process in running.values():
            process.kill()
    return turns


def started(arm: Arm, setting: Setting, folder: Path) -> subprocess.Popen[str]:
    """The process of an arm, on its way to its first step."""
    folder.mkdir(parents=True)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker", json.dumps(setting.spec(arm, folder / "run"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _go(process: subprocess.Popen[str]) -> None:
    """Let an arm take its turn. One that has ended (out of memory, say) is told by what is read of it next."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), b"go\n")


def _read(arm: Arm, process: subprocess.Popen[str], work: Path) -> dict:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        logs = "\n".join(file.read_text()[-2000:] for file in sorted(work.glob("*/log")))
        raise RuntimeError(f'"{arm.label}" ended early; killed, if no log says why. The ends of the logs:\n{logs}')
    return json.loads(line)
