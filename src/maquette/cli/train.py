"""`maquette train`: learn from a folder of pictures, or as a TOML file says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maquette.errors import ConfigError

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig
    from maquette.runs.rundir import RunDir

Source = Annotated[
    Path | None, typer.Argument(metavar="SOURCE", help="A folder of pictures, or a TOML file (see `maquette init`).")
]
Prompt = Annotated[
    str | None, typer.Option("--prompt", help='What the pictures show: "a photo of sks dog". Replaces caption files.')
]
Base = Annotated[
    str | None, typer.Option("--base", help="The base model: maquette-64, a folder, a .safetensors file or a hub id.")
]
Out = Annotated[Path | None, typer.Option("--out", help="The run's folder. Default: runs/ and the name of SOURCE.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Start from a recipe (see `maquette presets`).")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting: --set adapter.rank=32.")
]

Push = Annotated[
    str | None,
    typer.Option("--push-to-hub", metavar="NAME", help="Publish the finished run, privately (see `maquette publish`)."),
]


Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE...", help="A folder of pictures, or a TOML file (see `maquette init`), or several."),
]
Presets = Annotated[
    list[str] | None, typer.Option("--preset", help="Start from a recipe (see `maquette presets`), or several.")
]


def train(  # noqa: PLR0913 - one parameter for each flag
    source: Sources = None,
    prompt: Prompt = None,
    base: Base = None,
    out: Out = None,
    preset: Presets = None,
    device: Device = None,
    set_: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out from its checkpoint.")] = False,
    push: Push = None,
) -> None:
    """Train an adapter, or all of a model, on a few pictures.

    Defaults, then --preset, the TOML file, the flags, and --set: later ones win.

    Several TOML files, or several presets, are runs one after the other, each in a folder of its name in --out.

    `maquette config` with the same arguments shows what they come to.
    """
    sources, presets = source or [], preset or []
    if len(sources) > 1 or len(presets) > 1 or (resume and not sources and not presets and is_series(out)):
        from maquette.cli.series import train_series

        train_series(sources, presets, (prompt, base, out, device, set_), resume=resume, push=push)
        return
    one, recipe = next(iter(sources), None), next(iter(presets), None)
    if resume and one is None and recipe is None:
        if out is None:
            raise ConfigError("--resume: which run? Name its folder with --out, as when it began.")
        one = out / "config.toml"
    from maquette.config.load import require_pictures
    from maquette.training.launch import num_launched

    def settings() -> tuple["RunConfig", Path]:
        config, folder = read_settings(one, prompt, base, out, recipe, device, set_)
        require_pictures(config)
        return config, folder

    if num_launched() == 1:  # mistakes are told before torch is imported, which takes seconds
        settings()
    from maquette.training.processes import together

    with together() as processes:  # of several processes, one tells a mistake for all
        config, folder = settings()
        from maquette.report.publish import check_login, publish
        from maquette.training.session import run

        # Nobody should wait for a training only to hear that there was no login.
        target = check_login(push) if push is not None and processes.is_first else None
        processes.meet()
        directory = run(config, out=folder, resume=resume, processes=processes)
        address = publish(directory, target) if target is not None else None
    if not processes.is_first:
        return
    tell(directory)
    if address is not None:
        typer.echo(f"Published: {address}")


def is_series(out: Path | None) -> bool:
    """Whether a folder is that of several runs."""
    return out is not None and (out / "series").is_dir()


def tell(directory: "RunDir") -> None:
    """Say what came out of a run, and where it is."""
    from maquette.runs.best import read_best

    made = sorted(path for path in directory.export.iterdir() if path.suffix == ".safetensors" or path.name == "model")
    made = made or sorted(path for path in directory.export.glob("*/*.safetensors") if path.parent != directory.steps)
    typer.echo(f"Report: {directory.report}\nTrained: {', '.join(map(str, made))}")
    if (best := read_best(directory)) is not None:
        typer.echo(f"Best: {directory.best} (step {best.step}). {' '.join(best.findings)}")


def read_settings(
    source: Path | None,
    prompt: str | None,
    base: str | None,
    out: Path | None,
    preset: str | None,
    device: str | None,
    sets: list[str] | None,
) -> tuple["RunConfig", Path]:
    """The configuration that the arguments come to, and the run's folder.

    Raises ConfigError.
    """
    from maquette.config.load import load_config

    file = source if source is not None and source.suffix == ".toml" else None
    if source is not None and file is None and not source.is_dir():
        what = "is not a folder of pictures" if source.exists() else "does not exist"
        raise ConfigError(f"SOURCE {source}: {what}; give a folder, or a TOML file whose name ends in .toml.")
    folder = None if file else source
    flags = {"SOURCE": folder, "--prompt": prompt, "--base": base, "--out": out, "--device": device}
    config = load_config(file, preset=preset, flags=flags, sets=sets or [])
    return config, config.output.dir or Path("runs") / _name(config, file)


def _name(config: "RunConfig", file: Path | None) -> str:
    if config.data.folder is not None:
        return config.data.folder.resolve().name
    if file is not None:
        return file.stem
    return (config.data.dataset or "run").rstrip("/").rpartition("/")[2]
