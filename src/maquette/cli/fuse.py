"""`maquette fuse`: a model with adapters multiplied into its weights, which every tool can load."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from maquette.cli.worn import Adapters, Scales, with_strengths
from maquette.errors import ConfigError


def fuse(
    adapter: Adapters,
    base: Annotated[str, typer.Option("--base", help="maquette-64, a folder, a .safetensors file or a hub id.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for diffusers, or a new .safetensors file.")],
    scale: Scales = None,
    precision: Annotated[Literal["fp32", "fp16"], typer.Option("--precision", help="Of the new weights.")] = "fp32",
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="Vocabulary for a single-file base.")] = None,
    prior: Annotated[
        str | None, typer.Option("--prior", help="Prior of a Kandinsky decoder: a folder or hub id.")
    ] = None,
) -> None:
    """Multiply adapters into a copy of their base and save it: DoRA, LoHa and LoKr too, without loss.

    The base itself is not changed.
    """
    adapters = with_strengths(adapter or [], scale or [])
    if missing := [str(path) for path, _ in adapters if not path.exists()]:
        raise ConfigError(f"--adapter: there is no such file or folder: {', '.join(missing)}.")

    from maquette.adapters.convert import fuse_into  # here, since it imports torch

    fuse_into(base, adapters, out, precision=precision, tokenizer=tokenizer, prior=prior)
    typer.echo(f"{out}: {base} with {', '.join(path.name for path, _ in adapters)}.")
