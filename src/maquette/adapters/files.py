"""Writing safetensors atomically; reading them, and what others have pickled, without running anything of it."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from maquette.adapters.paddle import FORMAT, SUFFIX, from_paddle
from maquette.adapters.pickles import read_pickle
from maquette.errors import CheckpointError
from maquette.families.pickled import SUFFIXES as PICKLED
from maquette.runs.files import replacing


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file under a temporary name, flush it to the disk, and rename it."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, or the tensors of a pickled one, all in torch's layout.

    Raises CheckpointError for a file that is missing, damaged or of another format.
    """
    if path.suffix in PICKLED and path.exists():
        return read_pickle(path), {}
    try:
        tensors, metadata = load_file(path), read_metadata(path)
        return from_paddle(tensors) if metadata.get("format") == FORMAT else tensors, metadata
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no such file. Give an adapter's .safetensors file or its folder."
        ) from None
    except (SafetensorError, OSError, ValueError, struct.error) as problem:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({problem}). Fetch or export it again."
        ) from None


def read_metadata(path: Path) -> dict[str, str]:
    """The strings that a safetensors file carries beside its tensors."""
    return {str(key): str(value) for key, value in _header(path).get("__metadata__", {}).items()}


def tensor_names(path: Path) -> list[str]:
    """The names of a file's tensors; none where there is no such file, or it is damaged, or Paddle's."""
    if path.suffix == SUFFIX:
        return []
    try:
        names = read_pickle(path) if path.suffix in PICKLED else _header(path)
        return [name for name in names if name != "__metadata__"]
    except (CheckpointError, OSError, ValueError, struct.error, MemoryError):
        return []


def _header(path: Path) -> dict[str, dict[str, object]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))
