"""`maquette check`: what is wrong with a folder of pictures, before anything trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from maquette.data.check import Report
    from maquette.data.sample import Finding

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def check(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, as `maquette train` takes it.")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="The caption of all pictures.")] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help='What "[trigger]" stands for in captions.')] = None,
    resolution: Annotated[
        int, typer.Option("--resolution", help="Side of the training square: 512 for SD 1, 1024 for SDXL.", min=64)
    ] = 512,
    placeholder: Annotated[
        list[str] | None, typer.Option("--placeholder", help="A word that new tokens are to be learned for ([tokens]).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report on a folder of pictures: what cannot be read, is too small, doubled, or badly captioned.

    Exit code 0: training would accept it, whatever the warnings. 1: it would not. Nothing is changed.
    """
    from maquette.data.check import check as check_folder
    from maquette.data.sample import Source

    source = Source(folder, prompt=prompt, trigger=trigger)
    report = check_folder(source, resolution=resolution, placeholders=placeholder or ())
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(report, Console(soft_wrap=True, highlight=False))
    if not report.is_usable:
        raise typer.Exit(1)


def _show(report: Report, console: Console) -> None:
    class_images = f", {report.num_class_images} class images" if report.num_class_images else ""
    draws = f" ({report.num_draws} with repeats)" if report.num_draws != report.num_pictures else ""
    console.print(f"[bold]{escape(report.folder)}[/bold]: {report.num_pictures} pictures{draws}{class_images}")
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
