"""Pretraining in several sittings: going on from a base that was published before, instead of from nothing."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from safetensors import safe_open
from torch import nn

from maquette.embedded.models import new_denoiser
from maquette.errors import ConfigError
from maquette.families.load import EMBEDDED, load_family
from maquette.families.sd import StableDiffusion

RECORD = "training.json"
_SEEDS_APART = 1000


class Record(TypedDict, total=False):
    """What training.json tells of a model; before is the record of the base that it went on from."""

    model: str
    commit: str | None
    pictures: int
    parts: Mapping[str, Mapping[str, object]]
    versions: Mapping[str, str]
    before: "Record | None"


def begin_from(base: str, work: Path) -> None:
    """Lay a published base into a work folder that is still empty, for the parts to start from.

    base: the embedded name, or a folder that ``maquette world pretrain --publish`` wrote. Asking again for the same is
    no error. Raises ConfigError where the work folder has begun otherwise, the base was not made by pretraining, or it
    has other sizes.
    """
    source, start = Path(EMBEDDED.get(base, base)), work / "start"
    if not (source / RECORD).is_file():
        raise ConfigError(f"--start-from {base}: no base made by `maquette world pretrain`; it has no {RECORD}.")
    if start.exists():
        if (start / RECORD).read_bytes() != (source / RECORD).read_bytes():
            raise ConfigError(f"--start-from {base}: {work} started from another base. Name another --work.")
        return
    shapes = {name: list(value.shape) for name, value in new_denoiser(0).state_dict().items()}
    with safe_open(source / "unet" / "diffusion_pytorch_model.safetensors", "pt") as saved:
        others = {name: saved.get_slice(name).get_shape() for name in saved.keys()}  # noqa: SIM118 - no mapping
    if _inner(shapes) != _inner(others):
        raise ConfigError(f"--start-from {base}: its denoiser has other sizes than this version trains.")
    if begun := sorted(path.name for path in work.glob("*.safetensors")):
        raise ConfigError(f"--start-from {base}: {work} has begun from nothing ({begun[0]}). Name another --work.")
    partial = work / "start.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    partial.rename(start)


def earlier_base(work: Path) -> StableDiffusion | None:
    """The base that a work folder starts from, in fp32, if it does not start from nothing."""
    return _base(work / "start") if (work / "start").exists() else None


def embedded_base(name: str) -> StableDiffusion:
    """A base that comes with the package, in fp32."""
    return _base(EMBEDDED[name])


def _base(folder: Path) -> StableDiffusion:
    family = load_family(folder)
    assert isinstance(family, StableDiffusion)
    return family


def carry_over(module: nn.Module, earlier: nn.Module) -> None:
    """Give a module the weights of another that have its names and shapes; the others start anew.

    Between sittings that is all but the convolutions to another number of latent channels. What those compute is
    linear, so the rest stays of use behind new ones.
    """
    new = module.state_dict()
    known = earlier.state_dict()
    same = {name for name in known.keys() & new.keys() if known[name].shape == new[name].shape}
    module.load_state_dict(new | {name: known[name] for name in same})


def _inner(shapes: Mapping[str, object]) -> Mapping[str, object]:
    """The shapes of a denoiser that do not depend on the number of latent channels."""
    return {name: shape for name, shape in shapes.items() if not name.startswith(("conv_in.", "conv_out."))}


def earlier_record(work: Path) -> Record | None:
    """The record of the base that a work folder starts from."""
    file = work / "start" / RECORD
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def published_record(name: str) -> Record:
    """The record of a base that comes with the package."""
    return json.loads((EMBEDDED[name] / RECORD).read_text("utf-8"))


def seed_of_sitting(seed: int, work: Path) -> int:
    """A seed of its own for every sitting, so that a later one does not repeat the draws of an earlier."""
    sittings, record = 0, earlier_record(work)
    while record is not None:
        sittings, record = sittings + 1, record.get("before")
    return seed + _SEEDS_APART * sittings
