"""`maquette check`: what is wrong with a folder of pictures, before anything trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from maquette.cli.train import Preset, Set
from maquette.errors import ConfigError

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig
    from maquette.data.check import Report
    from maquette.data.sample import Finding

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def check(  # noqa: PLR0913 - one parameter for each flag
    folder: Annotated[Path, typer.Argument(help="Folder of pictures or TOML file, as `maquette train` takes it.")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="The caption of all pictures.")] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help='What "[trigger]" stands for in captions.')] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="The model that will be trained; it decides the sizes of pictures."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Side of the training square. Default: as the base was trained.")
    ] = None,
    placeholder: Annotated[
        list[str] | None, typer.Option("--placeholder", help="A word that new tokens are to be learned for ([tokens]).")
    ] = None,
    preset: Preset = None,
    set_: Set = None,
    is_pack: Annotated[bool, typer.Option("--pack", help="Each folder in FOLDER is a concept of its own.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report on a folder of pictures: what cannot be read, is too small, doubled, or badly captioned.

    Exit code 0: training would accept it, whatever the warnings. 1: it would not. Nothing is changed.
    """
    config = _settings(folder, (prompt, trigger, base, resolution), preset, set_ or [], is_pack=is_pack)
    report = _report(config, folder, placeholder or [])
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(report, Console(soft_wrap=True, highlight=False))
    if not report.is_usable:
        raise typer.Exit(1)


def _settings(
    folder: Path,
    given: tuple[str | None, str | None, str | None, int | None],
    preset: str | None,
    sets: list[str],
    *,
    is_pack: bool,
) -> RunConfig:
    """What training would be told of these pictures. given: --prompt, --trigger, --base and --resolution."""
    from maquette.config.load import load_config, require_pictures

    prompt, trigger, base, resolution = given
    is_file = folder.suffix == ".toml"
    if is_file and (is_pack or prompt is not None or trigger is not None):
        raise ConfigError(f"{folder}: says by itself what its pictures are; leave out --pack, --prompt and --trigger.")
    if is_pack and trigger is not None:
        raise ConfigError("--trigger: the folders of a pack are called by their own names; leave it out.")
    pictures = None if is_file else folder
    flags = {"SOURCE": pictures, "--prompt": prompt, "--trigger": trigger, "--base": base, "--resolution": resolution}
    sets = [*(["pack={}"] if is_pack else []), *sets]
    config = load_config(folder if is_file else None, preset=preset, flags=flags, sets=sets)
    require_pictures(config)
    return config


def _report(config: RunConfig, folder: Path, placeholders: list[str]) -> Report:
    from maquette.data.check import Fit, check_concepts
    from maquette.data.check import check as check_folder
    from maquette.data.gather import subject_sources, training_sizes
    from maquette.data.pack import unpacked
    from maquette.families.load import load_shapes

    family = load_shapes(config.model)
    fit = Fit(training_sizes(config.data, family), upscale=config.data.upscale)
    is_pack, config = config.pack is not None, unpacked(config)
    words = placeholders or ([] if config.tokens is None else list(config.tokens.placeholders))
    sources = subject_sources(config)
    if folder.suffix != ".toml" and not is_pack:
        return check_folder(sources[0], fit, placeholders=words)
    return check_concepts(str(folder), sources, fit, placeholders=words)


def _show(report: Report, console: Console) -> None:
    class_images = f", {report.num_class_images} class images" if report.num_class_images else ""
    draws = f" ({report.num_draws} with repeats)" if report.num_draws != report.num_pictures else ""
    console.print(f"[bold]{escape(report.folder)}[/bold]: {report.num_pictures} pictures{draws}{class_images}")
    for called, count in report.concepts:
        console.print(f"  {count:>5} of {escape(called) or '(no trigger)'}")
    console.print(f"Sizes (height x width) at resolution {report.resolution}:")
    longest = max((count for _, count in report.sizes), default=0)
    for (height, width), count in report.sizes:
        console.print(f"  {height:>5} x {width:<5} {'█' * max(1, round(30 * count / longest))} {count}")
    for level in STYLES:
        for finding in report.findings:
            if finding.level == level:
                _show_finding(finding, console)
    if report.is_usable:
        console.print("[bold green]Training would accept this folder.[/bold green]")
    else:
        console.print("[bold red]Training would refuse this folder.[/bold red]")


def _show_finding(finding: Finding, console: Console) -> None:
    style = STYLES[finding.level]
    console.print(f"[{style}]{finding.level}[/{style}] [cyan]{finding.kind}[/cyan] {escape(finding.message)}")
    for name in finding.names:
        console.print(f"    {escape(name)}")
