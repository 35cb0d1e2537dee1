"""What a run has exported, told from the files themselves: which dialect each speaks, and what kind it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.errors import CheckpointError
from maquette.runs.rundir import STEPS

NO_CONCEPT = frozenset({STEPS, "model"})
"""Folders of an export that hold checkpoints or parts of a model."""

LONGEST_HEADER = 100_000_000
"""More bytes than this no safetensors header has. Source: the format's own limit."""


@dataclass(frozen=True, slots=True)
class Export:
    """One file or folder that can be loaded.

    name: relative to the run's folder, with forward slashes. kind: the dialect of an adapter file, the rows of new
    tokens, a whole model as one checkpoint, or a whole model as a folder in diffusers' layout. num_bytes: of everything
    in it. tensors: of new tokens, the names of their rows. end_token: the id at which text encoders must pool.
    of: what the files say of the base, as kohya's metadata call it; of a folder, the class of its pipeline.
    """

    name: str
    kind: Literal["kohya", "diffusers", "embedding", "checkpoint", "folder"]
    num_bytes: int
    is_dora: bool = False
    algorithm: str = "lora"
    tensors: tuple[str, ...] = ()
    end_token: int | None = None
    of: str = ""

    @property
    def file_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """All of the name but its last part."""
        return self.name.rpartition("/")[0]


def find_exports(folder: Path, run: Path) -> list[Export]:
    """Everything loadable in a folder, in its folder of raw weights and in those of a bank's concepts.

    Shortest names, and so the main ones, come first.

    Raises CheckpointError naming a .safetensors file whose header cannot be read.
    """
    below = [place for place in sorted(folder.iterdir()) if place.is_dir()] if folder.is_dir() else []
    places = [folder, *(place for place in below if place.name not in NO_CONCEPT)] if folder.is_dir() else []
    found = [export for place in places for path in place.iterdir() if (export := _export(path, run))]
    return sorted(found, key=lambda export: (len(export.name), export.name))


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata in the header of a .safetensors file; the tensors are not read.

    Raises CheckpointError where there is no such header.
    """
    return {str(key): str(value) for key, value in _header(file).get("__metadata__", {}).items()}


def _header(file: Path) -> dict[str, dict[str, object]]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = opened.read(length) if length <= LONGEST_HEADER else b""
    try:
        told = json.loads(header)
        dict(told.get("__metadata__", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{file}: is damaged or no .safetensors file: its header cannot be read.") from error
    return told


def _pipeline_in(index: Path) -> str:
    try:
        return str(json.loads(index.read_text(encoding="utf-8")).get("_class_name", ""))
    except (ValueError, AttributeError, OSError) as error:
        raise CheckpointError(f"{index}: is damaged: it is no JSON object.") from error


def _export(path: Path, run: Path) -> Export | None:
    name = path.relative_to(run).as_posix()
    if path.is_dir():
        index = path / "model_index.json"
        if not index.is_file():
            return None
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return Export(name, "folder", size, of=_pipeline_in(index))
    if path.suffix != ".safetensors" or path.name.startswith("."):
        return None
    metadata, size = read_metadata(path), path.stat().st_size
    of = metadata.get("ss_base_model_version", "")
    match metadata.get("maquette.dialect"):
        case "kohya":
            arguments = json.loads(metadata.get("ss_network_args", "{}"))
            algorithm = str(arguments.get("algo", "lora")).replace("locon", "lora")
            return Export(name, "kohya", size, arguments.get("dora_wd") == "True", algorithm, of=of)
        case "diffusers":
            return Export(name, "diffusers", size, of=of)
        case "embedding":
            tensors = tuple(sorted(key for key in _header(path) if key != "__metadata__"))
            end = metadata.get("maquette.end_token")
            end_token = None if end is None else int(end)
            return Export(name, "embedding", size, tensors=tensors, end_token=end_token, of=of)
        case _:
            return Export(name, "checkpoint", size)
