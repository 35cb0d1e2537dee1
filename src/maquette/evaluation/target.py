"""From what a person names (a run, an adapter file, a model, or `base`) to what makes the pictures that are scored."""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.adapters.files import read_metadata
from maquette.adapters.read import locate
from maquette.config.adapter import FullConfig
from maquette.config.load import load_config
from maquette.config.running import ModelConfig
from maquette.config.schema import RunConfig
from maquette.errors import CheckpointError, ConfigError
from maquette.evaluation.sources import is_hub_id
from maquette.families.load import EMBEDDED
from maquette.families.published import read_header
from maquette.generation.batch import Maker
from maquette.runs.rundir import RunDir

BASE = "base"
"""The word for the base model without any adapter."""

_STEP = re.compile(r"step(\d+)\.safetensors$")
_PARTS = ("model.diffusion_model.", "first_stage_model.", "conditioner.embedders.")
"""Begin the keys of a whole model in one file. Source: the original layout of SD 1, SD 2 and SDXL."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to evaluate.

    name: heading of its column. home: the folder its pictures go below. config: of the run it comes from. run: that
    run's folder. trigger: what an adapter file says of itself. is_base: it knows no subject, only the class. part: name
    of the folder of its pictures, below that of the suite. strength: of its adapter, where that is what is tried.
    """

    name: str
    maker: Maker
    home: Path
    config: RunConfig | None = None
    run: RunDir | None = None
    trigger: str | None = None
    is_base: bool = False
    part: str = "pictures"
    strength: float | None = None

    def at(self, strength: float) -> "Target":
        """The same adapter at another strength."""
        adapters = [(path, strength) for path, _ in self.maker.adapters]
        name = f"strength {strength:g}"
        part = f"{self.part}-strength-{strength:g}"
        return replace(self, name=name, maker=replace(self.maker, adapters=adapters), part=part, strength=strength)


@dataclass(frozen=True, slots=True)
class Opening:
    """How targets are opened: the base (None is each one's own) and the device."""

    base: str | None = None
    device: str = "auto"


def open_target(word: str, opening: Opening, checkpoint: str | None = None) -> list[Target]:
    """What a word means: one thing, or with ``checkpoint = "all"`` each of a run's checkpoints.

    word: `base`, the folder of a run, an adapter file or folder, a model's folder or file, or a hub id.
    checkpoint: a step, "best" or "all", of a run. Raises ConfigError or CheckpointError, before anything is loaded.
    """
    path = Path(word)
    is_run = RunDir(path).config.is_file()
    if checkpoint is not None and not is_run:
        raise ConfigError(f"--checkpoint {checkpoint}: {word} is no run, and only runs have checkpoints. Leave it out.")
    if word == BASE:
        return [base_target(opening)]
    if is_run:
        return _of_run(RunDir(path), opening, checkpoint)
    is_model = (path / "model_index.json").is_file() or _is_whole_model(path) or _is_on_hub(word)
    if word in EMBEDDED or is_model:
        maker = Maker(word, [], device=opening.device)
        return [Target(path.stem if path.is_file() else path.resolve().name, maker, _home(word))]
    if not path.exists():
        raise ConfigError(_no_target(word))
    if path.is_dir() and not any(path.rglob("*.safetensors")):
        raise ConfigError(
            f"{word}: holds no run, no adapter and no model. If these are finished pictures, score them with "
            f"--pictures {word}."
        )
    file = locate(path)
    trigger = _metadata(file).get("modelspec.trigger_phrase")
    maker = Maker(opening.base, [(file, 1.0)], device=opening.device)
    return [Target(file.stem, maker, _home(str(file)), trigger=trigger)]


def base_target(opening: Opening, like: Target | None = None) -> Target:
    """The base without an adapter: the one named, or the one that another target stands on."""
    model = (
        ModelConfig(base=opening.base)
        if opening.base is not None
        else (like.maker if like else Maker(None, [])).model()
    )
    return Target(
        BASE, Maker(model, [], device=opening.device), Path("evaluation") / Path(model.base).name, is_base=True
    )


def _home(word: str) -> Path:
    """A folder for what has none of its own: many adapters are called pytorch_lora_weights, so their place counts."""
    path = Path(word)
    if not path.exists():
        return Path("evaluation") / word.replace("/", "--")
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:6]
    return Path("evaluation") / f"{path.resolve().stem if path.is_file() else path.resolve().name}-{digest}"


def _of_run(run: RunDir, opening: Opening, checkpoint: str | None) -> list[Target]:
    config = load_config(run.config)
    name = run.root.resolve().name
    plain = Target(name, Maker(opening.base, [], device=opening.device), run.root / "evaluation", config, run)
    if isinstance(config.adapter, FullConfig):
        if checkpoint not in (None, "best"):
            raise ConfigError(
                f"--checkpoint {checkpoint}: {run.root} trained a whole model, of which the end and the best alone are "
                "kept. Leave it out, or give best."
            )
        model = (_best(run) if checkpoint else run.export) / "model"
        if checkpoint:
            plain = replace(plain, name=f"{name}, best", part="best")
        if not model.is_dir():
            raise CheckpointError(
                f"{run.root}: {model.parent.name}/model is not there yet. Finish the run: "
                f"maquette train --resume --out {run.root}"
            )
        return [replace(plain, maker=replace(plain.maker, base=str(model)))]
    match checkpoint:
        case None:
            return [_wearing(plain, run.root, name, "pictures")]
        case "all":
            steps = _steps(run)
            return [_wearing(plain, file, f"step {step}", f"step-{step}") for step, file in steps.items()]
        case "best":
            return [_wearing(plain, _best(run), f"{name}, best", "best")]
        case _:
            file = _at_step(run, checkpoint)
            return [_wearing(plain, file, f"{name}, step {int(checkpoint)}", f"step-{int(checkpoint)}")]


def _wearing(plain: Target, path: Path, name: str, part: str) -> Target:
    locate(path)  # so that a run without an export is told before anything is loaded
    return replace(plain, name=name, part=part, maker=replace(plain.maker, adapters=[(path, 1.0)]))


def _steps(run: RunDir) -> dict[int, Path]:
    """The adapter of every checkpoint, by step."""
    files = sorted(run.steps.glob("*.safetensors"))
    steps = {int(match[1]): file for file in files if (match := _STEP.search(file.name))}
    if not steps:
        raise CheckpointError(f"{run.root}: export/steps holds no checkpoints. Evaluate without --checkpoint.")
    return steps


def _at_step(run: RunDir, checkpoint: str) -> Path:
    steps = _steps(run)
    if not checkpoint.isdigit() or int(checkpoint) not in steps:
        raise ConfigError(
            f"--checkpoint {checkpoint}: give best, all, or one of this run's steps: {', '.join(map(str, steps))}."
        )
    return steps[int(checkpoint)]


def _best(run: RunDir) -> Path:
    if not run.best.is_dir():
        raise CheckpointError(
            f"{run.root}: there is no best/: this run was not scored while it trained. "
            "--checkpoint all scores every checkpoint now."
        )
    return run.best


def _is_whole_model(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return any(key.startswith(_PARTS) for key in read_header(path).shapes)


def _is_on_hub(word: str) -> bool:
    """Whether a word means a model of the hub; where a folder OWNER is here, it is a path that leads nowhere."""
    return is_hub_id(word) and not Path(word).parent.exists()


def _metadata(file: Path) -> Mapping[str, str]:
    try:
        return read_metadata(file) if file.suffix == ".safetensors" else {}
    except (OSError, ValueError):  # which reading the adapter will tell in its own words
        return {}


def _no_target(word: str) -> str:
    path = Path(word)
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1, 0.6)
    hint = f" Did you mean {path.parent / near[0]}?" if near else ""
    hint += f" A model of the hub can be given as base --base {word}." if is_hub_id(word) and not near else ""
    return (
        f"{word}: there is no such file or folder.{hint} Give a run's folder, an adapter file, a model's folder, file "
        "or hub id, or the word base."
    )


def distinct_names(targets: Sequence[Target]) -> list[Target]:
    """The same targets with names that tell them apart: the folder above, or a number, where names are alike."""
    names = [target.name for target in targets]
    told = []
    for i, target in enumerate(targets):
        if names.count(target.name) > 1:
            above = target.run.root.resolve().parent.name if target.run is not None else ""
            longer = f"{above}/{target.name}" if above else target.name
            taken = [each.name for each in told]
            target = replace(target, name=longer if longer not in taken else f"{longer} ({i + 1})")
        told.append(target)
    return told
