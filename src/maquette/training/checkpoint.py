"""Checkpoints: named pieces of a run's state in one folder of safetensors and JSON, written whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.errors import CheckpointError
from maquette.runs.files import sync, write_text

MANIFEST = "manifest.json"
SCHEMA = 2
TEMPORARY = (".partial", ".replaced")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Piece(NamedTuple):
    """The state of one thing: its tensors by name, and whatever else JSON can say."""

    tensors: Mapping[str, Tensor]
    values: Json = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint in memory. ``environment`` is where it was written, as `environment` said there."""

    path: Path
    step: int
    pieces: Mapping[str, Piece]
    environment: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class _Manifest:
    step: int
    files: Mapping[str, str]
    environment: Mapping[str, Json] = field(default_factory=dict)


def environment() -> dict[str, Json]:
    """What the bits of a result depend on besides the run itself: change one, and sums are rounded in another order."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu,
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
    }


def environment_changes(saved: Mapping[str, Json]) -> list[str]:
    """How this environment differs from the one of a checkpoint, as "threads: 2 -> 1"; empty where bits will agree."""
    here = environment()
    return [f"{name}: {saved.get(name)} -> {here.get(name)}" for name in here if saved.get(name) != here[name]]


def environment_warnings(saved: Mapping[str, Json]) -> list[str]:
    """What to say where bits will not agree with an uninterrupted run's."""
    if not (moved := environment_changes(saved)):
        return []
    return [
        f"This machine or its libraries differ from the checkpoint's ({'; '.join(moved)}), so the result will not "
        "agree with an uninterrupted run to the last bit."
    ]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` optimizer steps is kept."""
    return folder / f"step-{step:08d}"


def write_checkpoint(folder: Path, step: int, pieces: Mapping[str, Piece]) -> Path:
    """Write a checkpoint beside the others and give it its name only when all of it is on the disk.

    Raises CheckpointError, leaving nothing half-written behind, where the disk refuses.
    """
    target = checkpoint_path(folder, step)
    partial, replaced = (folder / f".{target.name}{suffix}" for suffix in TEMPORARY)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        partial.mkdir()
        files = {name: digest for piece in pieces for name, digest in _write_piece(partial, piece, pieces[piece])}
        _write_manifest(partial, _Manifest(step, files, environment()))
        sync(partial)
        if target.exists():  # the run was resumed from an earlier checkpoint and comes by here again
            target.rename(replaced)
        partial.rename(target)
        sync(folder)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(
            f"{target}: the checkpoint cannot be written ({reason}). Make room for it, or allow "
            f"writing there, and resume; the checkpoints written before are untouched."
        ) from error
    finally:
        if folder.is_dir():
            _sweep(folder)
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Every piece of a checkpoint, after comparing each file with its digest.

    Raises CheckpointError, naming every file that is missing or changed.
    """
    manifest = _read_manifest(path)
    problems = _problems(path, manifest)
    if problems:
        raise CheckpointError(f"{path} is damaged: {'; '.join(problems)}.")
    names = dict.fromkeys(Path(file).stem for file in manifest.files)
    pieces = {name: _read_piece(path, name, manifest) for name in names}
    return Checkpoint(path, manifest.step, pieces, manifest.environment)


def newest_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint to resume from: the newest that was kept whole.

    Raises CheckpointError where there is none, and where the newest is damaged: going back further is for a person to
    decide, so the message names the newest intact one.
    """
    paths = all_checkpoints(folder)
    if not paths:
        raise CheckpointError(f"{folder} holds no checkpoint to resume from. Start the run anew, in another folder.")
    try:
        return read_checkpoint(paths[-1])
    except CheckpointError as error:
        intact = next((path for path in reversed(paths[:-1]) if is_intact(path)), None)
        cure = (
            "No other is intact: start the run anew, in another folder."
            if intact is None
            else f"The newest intact one is {intact}: move {paths[-1].name} out of {folder} to resume from it."
        )
        raise CheckpointError(f"{error} {cure}") from error


def all_checkpoints(folder: Path) -> list[Path]:
    """Every checkpoint of a run, oldest first; damaged ones are among them."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir()), key=lambda path: path.name)


def is_intact(path: Path) -> bool:
    """Whether every file of a checkpoint is there as it was written."""
    manifest = _manifest_or_none(path)
    return manifest is not None and not _problems(path, manifest)


def prune(folder: Path, keep: int) -> None:
    """Delete all but the last ``keep`` checkpoints; only our own files.

    What cannot be read is neither counted nor touched: a person may still want something of it.
    """
    readable = {path: manifest for path in all_checkpoints(folder) if (manifest := _manifest_or_none(path))}
    for path in [*readable][:-keep]:
        # The manifest goes last: killed in between, the next call still knows which files are ours.
        for name in (*readable[path].files, MANIFEST):
            (path / name).unlink(missing_ok=True)
        if not any(path.iterdir()):
            path.rmdir()


def _write_piece(folder: Path, name: str, piece: Piece) -> list[tuple[str, str]]:
    files = []
    if piece.tensors:
        file = folder / f"{name}.safetensors"
        save_file(_storable(piece.tensors), file)
        files.append(file)
    if piece.values is not None:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(piece.values, allow_nan=False), encoding="utf-8")
        files.append(file)
    for file in files:
        sync(file)
    return [(file.name, _digest(file)) for file in files]


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU and in one block each; safetensors refuses tensors that share memory."""
    ready, seen = {}, set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        ready[name] = flat.clone() if flat.untyped_storage().data_ptr() in seen else flat
        seen.add(ready[name].untyped_storage().data_ptr())
    return ready


def _read_piece(path: Path, name: str, manifest: _Manifest) -> Piece:
    tensors, values = f"{name}.safetensors", f"{name}.json"
    try:
        return Piece(
            load_file(path / tensors) if tensors in manifest.files else {},
            json.loads((path / values).read_text(encoding="utf-8")) if values in manifest.files else None,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {name} cannot be read ({error}).") from error


def _problems(path: Path, manifest: _Manifest) -> list[str]:
    problems = []
    for name, digest in manifest.files.items():
        if not (path / name).is_file():
            problems.append(f"{name} is missing")
        elif _digest(path / name) != digest:
            problems.append(f"{name} is not as it was written")
    return problems


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _write_manifest(path: Path, manifest: _Manifest) -> None:
    body = {
        "schema": SCHEMA,
        "step": manifest.step,
        "environment": dict(manifest.environment),
        "files": dict(manifest.files),
    }
    write_text(path / MANIFEST, json.dumps({**body, "sha256": _seal(body)}, indent=1))


def _read_manifest(path: Path) -> _Manifest:
    try:
        body = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if body.pop("sha256") != _seal(body):
            raise CheckpointError(f"{path} is damaged: {MANIFEST} is not as it was written.")
        if body["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} was written in format {body['schema']}; this version of maquette reads format {SCHEMA}. "
                "Resume with the version that wrote it (versions.json names it)."
            )
        return _Manifest(body["step"], body["files"], body["environment"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {MANIFEST} is missing or cannot be read.") from error


def _seal(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _manifest_or_none(path: Path) -> _Manifest | None:
    try:
        return _read_manifest(path)
    except CheckpointError:
        return None


def _sweep(folder: Path) -> None:
    """Remove what a killed or failed write left under its temporary names."""
    for path in folder.glob(".step-*"):
        if path.suffix in TEMPORARY:
            shutil.rmtree(path, ignore_errors=True)
