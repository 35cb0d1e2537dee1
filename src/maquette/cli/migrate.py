"""`maquette migrate`: another trainer's command line or settings as a TOML file of ours."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maquette.errors import ConfigError, DataError

if TYPE_CHECKING:
    from maquette.config.migration.migrate import Migrated


def migrate(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND", help="A command line, in quotes or behind --; a file with one; or kohya's TOML file."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write. Default: to the screen.")] = None,
) -> None:
    """Turn a command of diffusers, PaddleMIX or kohya into a TOML file for `maquette train`.

    What cannot be taken over is named, with the reason.
    """
    from maquette.config.migration.write import remark_lines, write
    from maquette.runs.files import write_text

    if out is not None and out.exists():
        raise ConfigError(f"--out {out}: exists already; give another name, or remove it first.")
    migrated, source = _migrated(command)
    text = write(migrated, source, Path() if out is None else out.parent)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
    for line in remark_lines(migrated):
        typer.echo(line, err=True)
    if out is not None:
        typer.echo(f"{out} is written. Look it over, then: maquette train {out}", err=True)


def _migrated(command: list[str]) -> tuple["Migrated", str]:
    from maquette.config.migration.command import parse, understood
    from maquette.config.migration.kohya_files import read_kohya
    from maquette.config.migration.migrate import migrate as migrate_command

    if len(command) > 1:
        asked = understood(command)
        return migrate_command(asked, _num_pictures), f"{asked.script.name}.py"
    file = Path(command[0]) if "\n" not in command[0] and len(command[0]) < 4096 else None
    if file is not None and file.suffix == ".toml":
        read, outcomes = read_kohya(file)
        return migrate_command(read, _num_pictures, outcomes), file.name
    if file is not None and file.is_file():
        text = file.read_text(encoding="utf-8", errors="replace")
    elif re.fullmatch(r"[\w./~-]+\.(sh|txt|bash|bat|ps1)", command[0]):
        raise ConfigError(f"{command[0]}: there is no such file.")
    else:
        text = command[0]
    asked = parse(text, os.environ)
    return migrate_command(asked, _num_pictures), f"{asked.script.name}.py"


def _num_pictures(folder: Path) -> int | None:
    """How many pictures a folder holds, with the repeats that the names of folders in it give."""
    from maquette.data.folder import list_folder
    from maquette.data.scan import KOHYA_FOLDER

    try:
        listing = list_folder(folder)
    except DataError:
        return None
    named = [KOHYA_FOLDER.fullmatch(path.parent.name) for path in listing.pictures]
    return sum(int(match[1]) if match else 1 for match in named) or None
