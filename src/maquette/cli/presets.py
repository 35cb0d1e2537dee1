"""`maquette presets`: the recipes that come with maquette."""

from typing import Annotated

import typer


def presets(
    name: Annotated[str | None, typer.Argument(help="Print this recipe instead of the list.")] = None,
) -> None:
    """List the recipes that `--preset` knows, or print one of them."""
    from maquette.config.presets import preset_names, preset_summary, preset_text

    if name is not None:
        typer.echo(preset_text(name), nl=False)
        return
    names = preset_names()
    width = max(map(len, names))
    for each in names:
        typer.echo(f"{each:{width}}  {preset_summary(each)}")
