"""`maquette train` with several TOML files or presets: runs one after the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.cli.train import read_settings, tell
from maquette.errors import ConfigError

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig

Flags = tuple[str | None, str | None, Path | None, str | None, list[str] | None]
"""What holds for all runs: --prompt, --base, --out, --device and --set."""


def train_series(
    sources: Sequence[Path], presets: Sequence[str], flags: Flags, *, resume: bool, push: str | None
) -> None:
    """Train several runs one after the other, or go on with them. Each is planned before the first one starts.

    Raises ConfigError, naming all of them, for arguments that do not go together.
    """
    out = flags[2]
    if problems := refused(sources, presets, flags, resume=resume, push=push):
        raise ConfigError("\n".join(problems))
    assert out is not None
    configs = {} if resume else settings(sources, presets, flags)
    from maquette.training.processes import together

    with together() as processes:
        from maquette.training.series import Series, begin, run_series

        if not resume and processes.is_first:
            from maquette.planning.plan import plan

            for name, config in configs.items():
                plan(config, out / name, processes)  # a mistake in the last run is told before the first one starts
            begin(out, configs)
        processes.meet()
        directories = run_series(Series(out), processes=processes)
    if processes.is_first:
        for directory in directories:
            tell(directory)


def refused(
    sources: Sequence[Path], presets: Sequence[str], flags: Flags, *, resume: bool, push: str | None
) -> list[str]:
    """What is wrong with the arguments of several runs."""
    prompt, base, out, device, sets = flags
    problems = []
    if out is None:
        problems.append("--out: name the folder that the runs, one after the other, get their folders in.")
    if resume and any((sources, presets, prompt, base, device, sets)):
        problems.append("--resume: several runs go on with the settings that they began with; give --out alone.")
    if len(sources) > 1 and len(presets) > 1:
        problems.append("--preset: several TOML files are runs of their own; give them one preset, or none.")
    if len(sources) > 1 and any(source.suffix != ".toml" for source in sources):
        problems.append("SOURCE: several must be TOML files; name one folder of pictures.")
    if base is not None and not resume:
        problems.append(
            "--base: each of several runs has a base of its own. Name it in a TOML file for each: "
            "`maquette config --preset NAME --base BASE > RUN.toml` writes one."
        )
    if push is not None:
        runs = "RUN" if out is None else f"{out}/RUN"
        problems.append(
            "--push-to-hub: publishes one run. Leave it out, and when several are done, publish each by its folder: "
            f"`maquette publish {runs} NAME`."
        )
    return problems


def settings(sources: Sequence[Path], presets: Sequence[str], flags: Flags) -> dict[str, "RunConfig"]:
    """The configuration of each run by its name: that of its file, or of its preset.

    Raises ConfigError, also where two have one name.
    """
    from maquette.config.load import require_pictures

    prompt, base, out, device, sets = flags
    first, recipe = next(iter(sources), None), next(iter(presets), None)
    by_file = [(source.stem, source, recipe) for source in sources]
    chosen = by_file if len(sources) > 1 else [(name, first, name) for name in presets]
    names = [name for name, _, _ in chosen]
    if same := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{', '.join(same)}: two runs would have the same folder; give their files different names.")
    configs = {}
    for name, source, preset in chosen:
        config, _ = read_settings(source, prompt, base, out, preset, device, sets)
        require_pictures(config)
        configs[name] = config
    return configs
