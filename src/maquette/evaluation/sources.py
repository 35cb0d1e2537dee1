"""Where the files of a metric's network are, and the weights in them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from maquette.errors import ModelError
from maquette.families.pickled import SUFFIXES, pickled_tensors
from maquette.families.weights import read_tensors, some, weight_files

HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
FILES: Final = frozenset({".safetensors", ".onnx", *SUFFIXES})


@dataclass(frozen=True, slots=True)
class Source:
    """A network's file or folder on this machine, and the short name that it is printed by."""

    path: Path
    label: str


def find_source(name: str, key: str, *, weights: bool = True) -> Source:
    """What a network's name in the settings means: a file, a folder, or a repository on the hub, fetched if need be.

    key: the setting, for messages. weights: whether they are needed; without them, only the configs of a repository on
    the hub are fetched. Raises ModelError, with the cure, where there is no such thing.
    """
    path = Path(name).expanduser()
    if path.exists():
        return Source(path, path.name)
    if not is_hub_id(name):
        raise ModelError(
            f'{key} = "{name}": there is no such file or folder. Give one of this machine, a hub id (OWNER/NAME), or '
            '"judge", the embedded network.'
        )
    from maquette.families import hub  # here, since the judges need no hub

    folder = hub.fetch_files(name, ["*.json", "*.txt", *(["*.safetensors"] if weights else [])])
    if weights and not any(folder.glob("*.safetensors")):
        folder = hub.fetch_files(name, ["*.json", "*.txt", "pytorch_model*.bin", "*.pth"])
    return Source(folder, name)


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a repository on the hub, OWNER/NAME, and not that of a file or a path."""
    return bool(HUB_ID.fullmatch(name)) and not name.startswith(".") and Path(name).suffix not in FILES


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or pickled file, or of a folder in transformers' layout, by name.

    In a folder, safetensors files come before pickled ones. Raises ModelError where there are none, or none intact.
    """
    if path.is_file():
        return _read_file(path)
    pickled = sorted(path.glob("pytorch_model*.bin"))
    if pickled and not any(path.glob("*.safetensors")):
        return {name: tensor for file in pickled for name, tensor in pickled_tensors(file).items()}
    return dict(read_tensors(weight_files(path, None)))


def read_all_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of every weights file in a folder, by name.

    Raises ModelError where there are none, or where two files disagree about a name.
    """
    if path.is_file():
        return _read_file(path)
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES | {".safetensors"})
    if not files:
        raise ModelError(f"{path}: has no weights (files that end in {', '.join(sorted(SUFFIXES))} or .safetensors).")
    tensors: dict[str, Tensor] = {}
    for file in files:
        found = _read_file(file)
        if twice := sorted(found.keys() & tensors.keys()):
            raise ModelError(f"{file}: {some(twice)} are also in another file of this folder. Keep one network there.")
        tensors |= found
    return tensors


def fingerprint(tensors: Mapping[str, Tensor], *settings: object) -> str:
    """A hash of weights and of what else decides a network's answers, the same on every machine.

    settings: values whose repr is the same for the same meaning, such as frozen dataclasses of numbers and text.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        # Through uint8, since numpy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _read_file(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return dict(read_tensors([file]))
    if file.suffix in SUFFIXES:
        return pickled_tensors(file)
    raise ModelError(f"{file}: is no file of weights; those end in {', '.join(sorted(SUFFIXES))} or .safetensors.")
