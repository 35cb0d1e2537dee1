"""`maquette evaluate`: scores of a run, an adapter, a model, or finished pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from maquette.errors import ConfigError

Suite = Annotated[str, typer.Option("--suite", help="world, dreambooth, ... or the TOML file of one's own.")]
References = Annotated[
    Path | None, typer.Option("--references", help="Folder of real pictures. Default: those that were trained on.")
]
Subject = Annotated[
    str | None, typer.Option("--subject", help='What prompts call it: "sks dog". Default: as its captions do.')
]
Noun = Annotated[str | None, typer.Option("--class", help="What it is, in a common word: dog.")]
Base = Annotated[str | None, typer.Option("--base", help="The model of an adapter file. Default: that of its run.")]
NetworksFile = Annotated[
    Path | None, typer.Option("--networks", help="TOML file of networks that score. Default: the embedded judge.")
]
JudgeOption = Annotated[
    Literal["judge", "verifier"] | None, typer.Option("--judge", help="Which embedded judge scores: judge, verifier.")
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the suite: --set num=2.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


def evaluate(  # noqa: PLR0913 - one parameter for each flag
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="A run, an adapter file, a model, or the word base.")
    ] = None,
    suite: Suite = "world",
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Instead of TARGET: a folder of pictures that are made already.")
    ] = None,
    references: References = None,
    subject: Subject = None,
    noun: Noun = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Of a run: a step, best, or all of them beside each other.")
    ] = None,
    strengths: Annotated[
        str | None, typer.Option("--strengths", help="Try the adapter at several strengths: 0,0.2,...,1.2.")
    ] = None,
    base: Base = None,
    networks: NetworksFile = None,
    judge: JudgeOption = None,
    set_: Set = None,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the results. Default: evaluation/SUITE in the run.")
    ] = None,
) -> None:
    """Make a suite's pictures where they are missing, score them, and show them on a page.

    Works on any adapter, also one made elsewhere. Pictures that exist are kept, so that a second call only scores.
    """
    if (target is None) == (pictures is None):
        raise ConfigError("Give one thing to evaluate: a run, an adapter file, a model or base; or --pictures FOLDER.")
    if pictures is not None and (checkpoint or strengths or base):
        raise ConfigError(
            "--base, --checkpoint and --strengths say how pictures are made, but with --pictures they are made already."
        )
    if checkpoint == "all" and strengths is not None:
        raise ConfigError("--checkpoint all and --strengths are two comparisons; make one after the other.")

    from maquette.config.suites import load_suite
    from maquette.evaluation.learned import Asked

    loaded = load_suite(suite, set_ or [])
    asked = Asked(subject, noun, references)

    from maquette.cli.scoring import Scorer, score_pictures, score_targets  # here, since it imports torch
    from maquette.evaluation.target import Opening

    scorer = Scorer(networks, judge, device)
    if pictures is not None:
        score_pictures(pictures, loaded, asked, scorer, out)
    else:
        assert target is not None
        score_targets([target], loaded, asked, Opening(base, device), scorer, out, checkpoint, strengths)
