"""`maquette world pretrain`: train a model of the embedded world, such as the base and its judges, again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maquette.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maquette.embedded.pretrain import Tick

Work = Annotated[Path, typer.Option("--work", help="Where pictures and unfinished parts are kept; rerun to go on.")]
Which = Annotated[
    str, typer.Option("--model", help="Which model to train: maquette-64, playground-64 or kandinsky-64.")
]
Part = Annotated[
    list[str] | None,
    typer.Option("--part", help="Only this part, such as denoiser; may be given several times."),
]
Publish = Annotated[Path | None, typer.Option("--publish", help="Also write the model as a diffusers folder, fp16.")]
StartFrom = Annotated[
    str | None,
    typer.Option("--start-from", help="Go on from a base that an earlier --publish wrote."),
]


def pretrain(
    work: Work = Path("pretraining"),
    model: Which = "maquette-64",
    part: Part = None,
    publish: Publish = None,
    start_from: StartFrom = None,
) -> None:
    """Train maquette-64 and its judges from nothing: several hours on two cores, in as many sittings as you like.

    With --model, a small base of another family: playground-64 and kandinsky-64 start from maquette-64's weights.

    Parts run one after the other; each saves itself every 200 steps and goes on from there.
    """
    from maquette.embedded.publish import MODELS
    from maquette.embedded.publish import publish as write

    if model not in MODELS:
        raise ConfigError(f"--model {model}: there is no such model. The models are {', '.join(MODELS)}.")
    parts, start = MODELS[model].parts, MODELS[model].start
    if unknown := [name for name in part or [] if name not in parts]:
        raise ConfigError(f"--part {unknown[0]}: {model} has no such part. Its parts are {', '.join(parts)}.")
    if start_from is not None and start is not None:
        raise ConfigError(f"--start-from {start_from}: {model} always starts from {start}. Leave it out.")

    import torch

    # Activations fade into denormal numbers, which processors compute with far more slowly.
    torch.set_flush_denormal(True)
    work.mkdir(parents=True, exist_ok=True)
    if start_from is not None:
        from maquette.embedded.sittings import begin_from

        begin_from(start_from, work)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        for name in part or parts:
            _show(parts[name](work), name, progress)
    if publish is not None:
        write(model, work, publish)
        typer.echo(f"Wrote {model} to {publish}")


def _show(ticks: "Iterator[Tick]", name: str, progress: Progress) -> None:
    task = progress.add_task(name, total=None)
    for tick in ticks:
        loss = "" if tick.loss is None else f" · loss {tick.loss:.4f}"
        progress.update(task, completed=tick.done, total=tick.total, description=name + loss)
