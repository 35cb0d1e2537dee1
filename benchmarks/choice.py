"""Which rule to choose a checkpoint by, in simulated runs whose truth is known: python -m benchmarks.choice

A run has six checkpoints. Likeness rises towards a ceiling, at a speed and to a height that differ from run to run;
prompt fidelity stays, or falls late, a little or nearly to nothing. Each picture has its own difficulty, which all
checkpoints share, and its own noise at each. A rule sees 4 to 20 pictures a checkpoint; what it loses is the true
balance of the best checkpoint less that of the one it chose. The spreads are those of pictures of the embedded world.
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final

import torch
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor

from maquette.evaluation.choice import Reading, Scale, choose

CHECKPOINTS: Final = 6
SCALE: Final = Scale(untouched=0.0, real=1.0, ignored=0.0, followed=1.0)
SPREAD: Final = (0.12, 0.20)
"""Of likeness and of prompt fidelity, between pictures and again within each, on the scale of the balance."""

Rule = Callable[[Sequence[Reading]], int]


def truth(rng: Generator) -> tuple[Tensor, Tensor]:
    """Likeness and prompt fidelity of the checkpoints of a run, without noise."""
    time = torch.arange(1, CHECKPOINTS + 1, dtype=torch.float64) / CHECKPOINTS
    speed, height, onset, bend, depth = torch.rand(5, generator=rng, dtype=torch.float64)
    like = (0.5 + height / 2) * (1 - torch.exp(-(2 + 10 * speed) * time))
    fall = (0.0, 0.1, 0.3, 0.6, 0.9)[int(torch.randint(5, (1,), generator=rng))] * (0.7 + 0.6 * depth)
    late = ((time - 0.6 * onset) / (1 - 0.6 * onset)).clamp(min=0) ** (1 + bend)
    return like, (1 - fall * late).clamp(min=0)


def seen(like: Tensor, prompt: Tensor, pictures: int, rng: Generator) -> list[Reading]:
    """What pictures say of a run."""
    columns = []
    for mean, spread in zip((like, prompt), SPREAD, strict=True):
        own = spread * torch.randn(pictures, 1, generator=rng, dtype=torch.float64)
        columns.append(mean + own + spread * torch.randn(pictures, len(mean), generator=rng, dtype=torch.float64))
    return [Reading(i, tuple(columns[0][:, i].tolist()), tuple(columns[1][:, i].tolist())) for i in range(len(like))]


def most_like_within(loss: float) -> Rule:
    """The checkpoint most like the subject among those that have lost at most so much prompt fidelity."""

    def rule(readings: Sequence[Reading]) -> int:
        kept = [r for r in readings if fmean(r.prompt) >= 1 - loss] or readings[:1]
        return max(kept, key=lambda r: fmean(value for value in r.like if value is not None)).step

    return rule


RULES: Final[dict[str, Rule]] = {
    **{
        f"earliest within {tolerance:g} standard errors of the highest balance": (
            lambda readings, t=tolerance: choose(readings, SCALE, t).step
        )
        for tolerance in (0, 0.5, 1, 2)
    },
    **{f"most alike with at most {loss:.0%} of the prompt lost": most_like_within(loss) for loss in (0.1, 0.2, 0.3)},
    "the last": lambda readings: readings[-1].step,
}


def main() -> None:
    """Print what each rule loses, and which checkpoint it takes on average."""
    parser = argparse.ArgumentParser(description="Rules that choose a checkpoint, in simulated runs.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--pictures", type=int, nargs="+", default=[4, 8, 12, 20])
    options = parser.parse_args()
    table = Table("rule", *(f"{n} pictures" for n in options.pictures), title=f"Lost balance, {options.runs} runs each")
    lost: dict[str, list[str]] = {name: [] for name in RULES}
    for pictures in options.pictures:
        rng = Generator().manual_seed(0)
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in RULES}
        for _ in range(options.runs):
            like, prompt = truth(rng)
            balance = SCALE.balance(like, prompt)
            readings = seen(like, prompt, pictures, rng)
            for name, rule in RULES.items():
                step = rule(readings)
                found[name].append((float(balance.max() - balance[step]), step + 1))
        for name, pairs in found.items():
            mean, place = fmean(loss for loss, _ in pairs), fmean(step for _, step in pairs)
            lost[name].append(f"{mean:.4f} (checkpoint {place:.1f})")
    for name, cells in lost.items():
        table.add_row(name, *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
