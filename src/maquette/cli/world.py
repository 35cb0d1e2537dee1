"""`maquette world`: folders of captioned pictures from the embedded world, to train on without any of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from maquette.cli.pretrain import pretrain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maquette.embedded.folders import Captioned

world_app = typer.Typer(no_args_is_help=True, help="Write folders of captioned pictures from the embedded world.")
world_app.command()(pretrain)

Out = Annotated[Path, typer.Option("--out", help="A new or empty folder for NNN.png and NNN.txt.")]
Count = Annotated[int, typer.Option("--count", "-n", help="How many pictures to write.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides places, poses and captions.")]
Token = Annotated[str | None, typer.Option("--token", help="Name it by this word in the captions, such as sks.")]
SubjectIndex = Annotated[int, typer.Option("--index", help="Which held-out subject: 0, 1, 2 and so on.")]
FaceIndex = Annotated[int, typer.Option("--index", help="Which held-out person: 0, 1, 2 and so on.")]
StyleIndex = Annotated[int, typer.Option("--index", help="Which held-out style, from 0 to 7.")]


@world_app.command()
def subject(out: Out, count: Count = 6, index: SubjectIndex = 0, seed: Seed = 0, token: Token = None) -> None:
    """Photos of one object that pretraining never saw, in many places and poses."""
    from maquette.embedded.folders import subject_pictures

    _write(subject_pictures(index, count, seed, token), count, out)


@world_app.command()
def face(out: Out, count: Count = 6, index: FaceIndex = 0, seed: Seed = 0, token: Token = None) -> None:
    """Photos of one person that pretraining never saw, with changing expressions and clothes."""
    from maquette.embedded.folders import face_pictures

    _write(face_pictures(index, count, seed, token), count, out)


@world_app.command()
def style(out: Out, count: Count = 12, index: StyleIndex = 0, seed: Seed = 0, token: Token = None) -> None:
    """Different objects and places, all in one style that pretraining never saw."""
    from maquette.embedded.folders import style_pictures

    _write(style_pictures(index, count, seed, token), count, out)


@world_app.command()
def scenes(out: Out, count: Count = 64, seed: Seed = 0) -> None:
    """Random captioned pictures of the kind that pretraining learns from, but never saw."""
    from maquette.embedded.folders import scene_pictures

    _write(scene_pictures(count, seed), count, out)


def _write(pictures: Iterable[Captioned], count: int, out: Path) -> None:
    from maquette.embedded.folders import write_folder

    with_progress = track(pictures, "Drawing", total=count, console=Console(stderr=True), transient=True)
    paths = write_folder(with_progress, out)
    typer.echo(f"Wrote {len(paths)} pictures with their captions to {out}")
