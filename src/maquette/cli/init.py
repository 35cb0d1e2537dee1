"""`maquette init`: a TOML file to start from, with every setting explained."""

from pathlib import Path
from typing import Annotated

import typer

from maquette.cli.train import Preset
from maquette.errors import ConfigError


def init(
    file: Annotated[Path, typer.Argument(help="The file to write; none may have this name.")] = Path("run.toml"),
    preset: Preset = None,
) -> None:
    """Write a TOML file with every setting, its meaning and its source, to edit and pass to `maquette train`."""
    from maquette.config.load import load_config
    from maquette.config.toml import dump

    heading = f"# Settings for `maquette train {file.name}`. Without a line, its default holds."
    text = f"{heading}\n\n{dump(load_config(preset=preset))}"
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConfigError(f"{file}: exists already; give another name, or remove it first.") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}.") from None
    typer.echo(f"{file} is written. Set data.folder in it, then: maquette train {file}")
