"""What encoders made of pictures and captions, kept under the hash of everything that decides it.

An entry is found by content alone: bytes of the picture, how it was cut, weights and precision of the encoder. Nothing
is ever out of date, therefore: whatever changes, the key changes with it, and no entry can belong to another picture.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from maquette.errors import DataError
from maquette.runs.files import replacing

SCHEMA = 1
"""Raised whenever entries mean something else, so that older ones are not found any more."""

RAM_LIMIT = 4 * 2**30
"""Bytes of entries kept in memory; the others are read from disk each time, or computed again if there is no disk."""

Entry = Mapping[str, Tensor]
Facts = Mapping[str, str | int | float | tuple[int, ...] | bool | None]


def key_of(kind: str, facts: Facts) -> str:
    """The name of an entry: sha256 of its kind, the schema and everything that decides its value."""
    text = json.dumps([SCHEMA, kind, facts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(modules: Mapping[str, nn.Module], facts: Facts) -> str:
    """What identifies an encoder: its modules' weights with names and types, their configuration, and ``facts``."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name, module in sorted(modules.items()):
        digest.update(_configuration(module).encode())
        digest.update(_digest(module.state_dict(), name).encode())
    return digest.hexdigest()


def _configuration(module: nn.Module) -> str:
    """A library model's settings (a scaling factor, an end-of-text id), without where it lies and who wrote it."""
    config = getattr(module, "config", None)
    if config is None:
        return ""
    settings = config if isinstance(config, Mapping) else config.to_dict()
    kept = {k: str(v) for k, v in settings.items() if not k.startswith("_") and k != "transformers_version"}
    return json.dumps(kept, sort_keys=True)


@dataclass(slots=True)
class Cache:
    """Entries in memory and, if there is a folder, on disk.

    named_by: the setting to change where the folder cannot be written. repaired: files that were damaged and have been
    computed again, for a message. computed: how many were not found.
    """

    folder: Path | None = None
    ram_limit: int = RAM_LIMIT
    named_by: str = "data.cache.dir"
    repaired: list[Path] = field(default_factory=list, init=False)
    computed: int = field(default=0, init=False)
    _kept: dict[str, Entry] = field(default_factory=dict, init=False)
    _ram: int = field(default=0, init=False)

    def get(self, key: str, compute: Callable[[], Entry]) -> Entry:
        """The entry of a key: from memory, from disk if it is intact, or else computed and kept."""
        if key in self._kept:
            return self._kept[key]
        entry = self._read(key)
        if entry is None:
            entry = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
            self.computed += 1
            self._write(key, entry)
        size = sum(tensor.nbytes for tensor in entry.values())
        if self._ram + size <= self.ram_limit:
            self._kept[key] = entry
            self._ram += size
        return entry

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> Entry | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            entry = load(path.read_bytes())
        except (SafetensorError, OSError):
            entry = {}
        check = entry.pop(CHECK, None)
        if check is None or bytes(check.tolist()).hex() != _digest(entry, key):
            self.repaired.append(path)
            return None
        return entry

    def _write(self, key: str, entry: Entry) -> None:
        path = self._path(key)
        if path is None:
            return
        check = torch.tensor(list(bytes.fromhex(_digest(entry, key))), dtype=torch.uint8)
        data = save({**entry, CHECK: check}, metadata={"schema": str(SCHEMA)})
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            cure = f"Make room, allow it, or name another folder as {self.named_by}."
            raise DataError(f"{path.parent}: cannot be written ({error.strerror}). {cure}") from error


CHECK = "sha256"
"""The tensor in every file that holds the hash of the others: safetensors itself notices no flipped bit."""


def _digest(tensors: Mapping[str, Tensor], key: str) -> str:
    """Hash of some tensors and of whose they are: a file under another entry's name does not pass for it."""
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    # Through uint8, since numpy knows no bfloat16.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
