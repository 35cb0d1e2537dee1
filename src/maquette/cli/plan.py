"""`maquette plan`: what `maquette train` would do with the same arguments, told without loading any weights."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from maquette.cli.train import Base, Device, Out, Preset, Prompt, Set, Source, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maquette.planning.plan import Plan
    from maquette.planning.words import Words

SHOWN = 12
"""So many captions are shown, those that are cut first; --json has all of them."""


def plan(
    source: Source = None,
    prompt: Prompt = None,
    base: Base = None,
    out: Out = None,
    preset: Preset = None,
    device: Device = None,
    set_: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show what training would do, without loading any weights.

    Takes the arguments of `maquette train`, and finds the same mistakes, but for damaged weights. Memory and time are
    estimates.
    """
    from maquette.config.load import require_pictures

    config, folder = read_settings(source, prompt, base, out, preset, device, set_)
    require_pictures(config)
    from maquette.planning.plan import plan as plan_run

    made = plan_run(config, folder)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made), indent=2, ensure_ascii=False))
    else:
        show(made, Console(soft_wrap=True, highlight=False))


def show(plan: Plan, console: Console) -> None:
    """Print a plan for people: tables that stay readable in a pipe."""
    beside = f", the other half's in {plan.beside}" if plan.beside not in (None, plan.weights) else ""
    console.print(
        f"[bold]{escape(plan.base)}[/bold] on {plan.device}: weights in {plan.weights}{beside}, products in "
        f"{plan.products}"
    )
    _show_groups(plan, console)
    if plan.start:
        console.print(f"[bold]Start[/bold]: {plan.start}")
    _show_pictures(plan, console)
    console.print(
        f"[bold]Steps[/bold]: {plan.steps} of {plan.batch} pictures; {plan.steps_per_pass:.1f} steps see every picture "
        f"once, so {plan.steps / plan.steps_per_pass:.1f} passes; {1000 * plan.teraflop:.1f} GFLOP a step"
    )
    console.print(f"[bold]Kept in the cache[/bold]: {plan.views} encoded views, {plan.captions_kept} captions")
    _show_bytes("Disk", "what the run writes", plan.disk, console)
    _show_bytes("Memory", f"estimate, on {plan.device}", plan.memory, console)
    total = sum(plan.seconds.values())
    parts = ", ".join(f"{name} {_time(value)}" for name, value in plan.seconds.items() if value)
    console.print(f"[bold]Time[/bold] (estimate, right within a factor of two): {_time(total)}: {parts}")
    _show_captions(plan, console)
    for warning in plan.warnings:
        console.print(f"[yellow]warning[/yellow] {escape(warning)}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _show_groups(plan: Plan, console: Console) -> None:
    table = _table("Trained", "group", "parameters", "learning rate", "rests from step")
    for group in plan.groups:
        rests = "" if group.halt_at is None else str(group.halt_at)
        table.add_row(group.name, f"{group.parameters:,}", f"{group.lr:g}", rests)
    if len(plan.groups) > 1:
        table.add_row("together", f"{sum(group.parameters for group in plan.groups):,}")
    console.print(table)


def _show_pictures(plan: Plan, console: Console) -> None:
    held = f", {plan.held_out} held out" if plan.held_out else ""
    to_make = f" ({plan.class_images_to_make} to be made)" if plan.class_images_to_make else ""
    classes = f", {plan.class_images} class images{to_make}" if plan.class_images else ""
    repeats = f" ({plan.draws} with repeats)" if plan.draws != plan.pictures else ""
    table = _table(f"Pictures: {plan.pictures}{repeats}{held}{classes}", "height x width", "pictures")
    for (height, width), count in plan.buckets:
        table.add_row(f"{height} x {width}", str(count))
    console.print(table)


def _show_bytes(title: str, what: str, sizes: Mapping[str, int], console: Console) -> None:
    table = _table(f"{title}: {_size(sum(sizes.values()))} ({what})", "for", "")
    for name, size in sizes.items():
        if size:
            table.add_row(name, _size(size))
    console.print(table)


def _show_captions(plan: Plan, console: Console) -> None:
    if not plan.captions:
        return
    shown = sorted(plan.captions, key=lambda words: not words.is_cut)[:SHOWN]
    console.print("[bold]Captions[/bold] in the text encoder's pieces; >trigger<, \\[cut: what it does not read]")
    for words in shown:
        console.print(f"  {words.pictures} x, {len(words.pieces)} tokens:", _pieces(words))
    if len(plan.captions) > len(shown):
        console.print(f"  and {len(plan.captions) - len(shown)} more (--json has all)")


def _pieces(words: Words) -> Text:
    """Pieces with a bar between those of one word; marked in letters too, for pipes have no colours."""
    text = Text()
    for number, piece in enumerate(words.pieces):
        is_trigger, ends = number in words.trigger, piece.endswith(" ")
        if number == words.kept:
            text.append("[cut: ", "bold red")
        style = "red" if number >= words.kept else "bold green" if is_trigger else ""
        text.append(f">{piece.strip()}<" if is_trigger else piece.strip(), style)
        text.append(" " if ends else "|", "dim")
    if words.is_cut:
        text.append("]", "bold red")
    return text


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
