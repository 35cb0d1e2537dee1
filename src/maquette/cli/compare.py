"""`maquette compare`: several runs, adapters or models side by side, and whether they differ by more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maquette.cli.evaluate import Base, Device, JudgeOption, NetworksFile, Noun, References, Set, Subject, Suite
from maquette.errors import ConfigError


def compare(  # noqa: PLR0913 - one parameter for each flag
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="Runs, adapter files, models, or the word base.")
    ],
    suite: Suite = "world",
    references: References = None,
    subject: Subject = None,
    noun: Noun = None,
    base: Base = None,
    networks: NetworksFile = None,
    judge: JudgeOption = None,
    set_: Set = None,
    device: Device = "auto",
    out: Annotated[Path, typer.Option("--out", help="Folder of the table and the page.")] = Path("comparison"),
) -> None:
    """Score several things on the same prompts and seeds, and say of each whether it is better or worse than the first.

    Pictures are kept with each run, so that they are made once.
    """
    if len(targets) < 2:
        raise ConfigError("There is nothing to compare with: give two or more, such as runs/a runs/b base.")

    from maquette.config.suites import load_suite
    from maquette.evaluation.learned import Asked

    loaded = load_suite(suite, set_ or [])

    from maquette.cli.scoring import Scorer, score_targets  # here, since it imports torch
    from maquette.evaluation.target import Opening

    asked = Asked(subject, noun, references)
    score_targets(targets, loaded, asked, Opening(base, device), Scorer(networks, judge, device), out)
