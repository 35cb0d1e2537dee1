"""What was measured, as a table on the terminal, as Markdown and as JSON."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed.arms import Arm, Setting
from benchmarks.speed.turns import Turn

COLUMNS = ("", "s a step", "processor s", "images/s", "to the first", "by processor time", "peak GB")


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison: its name, its setting, and the turns of its arms."""

    name: str
    setting: Setting
    turns: Mapping[Arm, Sequence[Turn]]

    def rows(self) -> list[tuple[str, ...]]:
        """Medians, and the medians and ranges of each turn's time over the first arm's in the same round."""
        first = next(iter(self.turns.values()))
        return [
            (
                arm.label,
                f"{median(t.wall for t in turns):.4g}",
                f"{median(t.processor for t in turns):.4g}",
                f"{self.setting.batch / median(t.wall for t in turns):.3g}",
                ratio(turns, first, lambda t: t.wall),
                ratio(turns, first, lambda t: t.processor),
                f"{max(t.peak for t in turns) / 1e9:.2f}",
            )
            for arm, turns in self.turns.items()
        ]

    def title(self) -> str:
        """What was compared, and on what."""
        s = self.setting
        what = f"{Path(s.base).name}, {s.resolution} px, batch {s.batch}, rank {s.rank}"
        return f"{self.name}: {what}, {s.rounds} rounds of {s.turn} steps"

    def data(self) -> dict[str, object]:
        """Everything, for JSON; without the places of this machine."""
        setting = {k: v for k, v in asdict(self.setting).items() if k not in ("pictures", "example", "base")}
        arms = [{**asdict(arm), "turns": [asdict(t) for t in turns]} for arm, turns in self.turns.items()]
        return {"name": self.name, "base": Path(self.setting.base).name, **setting, "arms": arms}


def ratio(turns: Sequence[Turn], first: Sequence[Turn], what: Callable[[Turn], float]) -> str:
    """Median of the paired ratios, with the smallest and the largest."""
    ratios = sorted(what(a) / what(b) for a, b in zip(turns, first, strict=True))
    return f"{median(ratios):.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def show(result: Result) -> None:
    """The table on the terminal."""
    table = Table(*COLUMNS, title=result.title())
    for row in result.rows():
        table.add_row(*row)
    Console().print(table)


def markdown(results: Sequence[Result]) -> str:
    """All tables, and the machine, as Markdown."""
    parts = [machine()]
    for result in results:
        lines = [COLUMNS, ("---", *("---:",) * (len(COLUMNS) - 1)), *result.rows()]
        parts += [f"**{result.title()}**", "\n".join(f"| {' | '.join(row)} |" for row in lines)]
    return "\n\n".join(parts) + "\n"


def machine() -> str:
    """The processor, its use by others, and the versions."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if (info.is_file())
        else [platform.processor()]
    )
    busy = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{names[0]}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {busy}, torch {torch.__version__}."
