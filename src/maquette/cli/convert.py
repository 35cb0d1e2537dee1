"""`maquette convert`: an adapter file in the dialect that another tool reads."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from maquette.errors import ConfigError


def convert(
    file: Annotated[Path, typer.Argument(help="An adapter file, or the folder of a run or of peft.")],
    to: Annotated[
        Literal["kohya", "diffusers"],
        typer.Option("--to", help="kohya: A1111, Forge, ComfyUI and most sites. diffusers: diffusers' pipelines."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The new file. Default: FILE with the dialect's name.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="The model it is for; only needed if it is none of SD 1, SD 2 and SDXL."),
    ] = None,
    precision: Annotated[Literal["fp32", "fp16"], typer.Option("--precision", help="Of the new file.")] = "fp32",
) -> None:
    """Write an adapter in another dialect; the new file is read back and compared before it is kept.

    Reads LoRA and DoRA of kohya, diffusers (old and new), peft, ai-toolkit and ppdiffusers (.pdparams), and LoHa and
    LoKr of LyCORIS.
    """
    if not file.exists():
        raise ConfigError(f"FILE {file}: there is no such file or folder.")
    target = out if out is not None else file.with_name(f"{file.stem}-{to}.safetensors")

    from maquette.adapters.convert import convert as convert_file  # here, since it imports torch

    read = convert_file(file, target, to, base=base, precision=precision)
    typer.echo(f"{target}: {len(read.delta)} layers in {to}'s dialect, read back and compared.")
