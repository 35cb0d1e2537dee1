"""`maquette config`: what a set of arguments comes to."""

import typer

from maquette.cli.train import Base, Device, Out, Preset, Prompt, Set, Source, read_settings


def config(
    source: Source = None,
    prompt: Prompt = None,
    base: Base = None,
    out: Out = None,
    preset: Preset = None,
    device: Device = None,
    set_: Set = None,
) -> None:
    """Print every setting that `maquette train` would use with the same arguments, as TOML."""
    settings, _ = read_settings(source, prompt, base, out, preset, device, set_)

    from maquette.config.toml import dump

    typer.echo(dump(settings, comments=False), nl=False)
