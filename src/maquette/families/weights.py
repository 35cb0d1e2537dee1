"""Weights from safetensors files into modules, with every missing and left-over tensor named. Nothing is unpickled."""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from maquette.errors import ModelError

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
"""Suffixes of files that run their writer's code when they are read."""

CONVERT = (
    "It is pickled, and reading it could run anybody's code. Get the .safetensors version, or convert it in a place "
    "where that does no harm (diffusers: load it and save_pretrained(..., safe_serialization=True))."
)

_FILE = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?(?:-\d{5}-of-(?P<shards>\d{5}))?\.safetensors"
)


def tensors_in(folder: Path, variant: str | None) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of one part of a diffusers folder; nothing is looked for before the first is asked for."""
    yield from read_tensors(weight_files(folder, variant))


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """The safetensors files of one part of a diffusers folder, in order of their names.

    variant: "fp16" reads NAME.fp16.safetensors; a part that has no such file is read in full, with a warning.
    Raises ModelError where there is none, naming the variants that exist and files that are not read.
    """
    groups: dict[str | None, list[Path]] = defaultdict(list)
    shards: dict[str | None, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if match := _FILE.fullmatch(file.name):
            groups[match["variant"]].append(file)
            shards[match["variant"]] = int(match["shards"] or 1)
    chosen = variant if variant in groups else None
    if chosen not in groups:
        raise ModelError(_why_no_weights(folder, variant, [name for name in groups if name]))
    if variant and chosen is None:
        logger.warning('%s: has no file of variant "%s"; the plain one is read.', folder, variant)
    if len(groups[chosen]) != shards[chosen]:
        raise ModelError(
            f"{folder}: {len(groups[chosen])} of {shards[chosen]} weight files are there; copy or download it again."
        )
    return groups[chosen]


def _why_no_weights(folder: Path, variant: str | None, variants: list[str]) -> str:
    if variants:
        asked = f'variant "{variant}"' if variant else "files without a variant"
        there = " or ".join(f'"{name}"' for name in variants)
        return f"{folder}: has no {asked}; there is {there}. Set model.variant to it."
    if pickled := sorted(file.name for file in folder.glob("*") if file.suffix in PICKLED):
        return f"{folder}: has no safetensors file, only {', '.join(pickled)}. {CONVERT}"
    return f"{folder}: has no weights (model.safetensors or diffusion_pytorch_model.safetensors). Get it again."


def read_tensors(files: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of safetensors files, one after the other. Raises ModelError, naming the damaged file."""
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - safe_open is no mapping
                    yield name, opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cannot be read ({error}); it may be cut short. Get it again.") from error


def count_parameters(files: Iterable[Path], prefix: str = "") -> int:
    """Numbers in the tensors whose names begin with ``prefix``, from the files' headers alone."""
    total = 0
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118
                total += sum(torch.Size(opened.get_slice(name).get_shape()).numel() for name in names)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cannot be read ({error}); it may be cut short. Get it again.") from error
    return total


def read_json(file: Path) -> dict[str, object]:
    """A JSON object. Raises ModelError where the file is missing or is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}. It is part of a diffusers folder.") from None
    except ValueError as error:
        raise ModelError(f"{file}: is no JSON ({error}). Get it again.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: holds a {type(content).__name__}, not an object. Get it again.")
    return content


def blank(build: Callable[[], M], where: str) -> M:
    """A module whose weights are only shapes, so that no time or memory goes into random ones.

    where: the file or folder that the config comes from, for messages. Raises ModelError where it describes no model.
    """
    try:
        with init_empty_weights(include_buffers=False):
            return build()
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"{where}: its config describes no model that can be built ({error}).") from error


def fill(module: M, tensors: Iterable[tuple[str, Tensor]], device: torch.device, dtype: torch.dtype, where: str) -> M:
    """Put exactly these tensors into a blank module as its weights, frozen and ready for inference.

    Frozen, because torch rounds differently for weights that want a gradient; what trains asks for its own.
    On the meta device, which has shapes only, nothing is read. Raises ModelError naming tensors that are missing or of
    another shape; what is left over is reported.
    """
    if device.type == "meta":
        return nn.Module.to(module, device, dtype).eval().requires_grad_(requires_grad=False)
    expected = module.state_dict()
    given: dict[str, Tensor] = {}
    left: list[str] = []
    for name, tensor in tensors:
        if name in expected:
            # A copy: a tensor may be a window on its file, which must not be held open, let alone written to.
            given[name] = tensor.to(device, dtype if tensor.is_floating_point() else None, copy=True)
        elif not name.endswith("position_ids"):  # a table of 0 to 76 that transformers no longer keeps
            left.append(name)
    check_tensors(expected, given, f"{where}: {type(module).__name__}")
    if left:
        logger.warning("%s: %d tensors belong to no part of the model: %s.", where, len(left), some(left))
    module.load_state_dict(given, assign=True)
    return module.to(device).eval().requires_grad_(requires_grad=False)


def check_tensors(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError where tensors are missing or have another shape than expected."""
    missing = [name for name in expected if name not in given]
    if missing:
        raise ModelError(f"{where} lacks {len(missing)} of {len(expected)} tensors: {some(missing)}. Get it again.")
    wrong = [
        f"{name} {list(given[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if given[name].shape != tensor.shape
    ]
    if wrong:
        raise ModelError(f"{where} has tensors of other shapes than its config says: {some(wrong)}.")


def some(names: list[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
