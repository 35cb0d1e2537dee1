"""Tensors out of other people's pickled files, without running any of what they say.

Read are torch's two layouts (.pt, .pth, .bin, .ckpt: a zip archive since torch 1.6, one stream before) and plain
pickles of arrays (.pkl, .pdparams). What comes out are dictionaries, lists, numbers, text and tensors; a file that
wants anything else is refused, and the message names what it wanted. Nothing is ever written in these formats.
"""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from maquette.errors import ModelError
from maquette.families.arrays import ARRAYS, STORAGES, Storage, storage_of
from maquette.families.opcodes import Refused, interpret

SUFFIXES = frozenset({".bin", ".ckpt", ".pdparams", ".pkl", ".pt", ".pth", ".th"})
"""How the names of pickled files end."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of torch's layout before 1.6."""

INSIDE = ("state_dict", "teacher", "model", "params", "params_ema", "weights")
"""Under which key a training checkpoint holds the network; DINO's "teacher" is the network that it publishes."""

DAMAGE = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    RuntimeError,
    StopIteration,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    OSError,
)
"""What reading a file that contradicts itself raises."""


def pickled_tensors(file: Path) -> dict[str, Tensor]:
    """The weights of a pickled file by name, out of the training checkpoint that may be around them.

    Raises ModelError where the file cannot be read, asks for anything but data, or holds no tensors.
    """
    return tensors_in(read_pickled(file), file)


def tensors_in(content: object, file: Path) -> dict[str, Tensor]:
    """The weights by name in what ``read_pickled`` found. Raises ModelError where there are none."""
    for _ in range(3):
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        content = next((content[key] for key in INSIDE if key in content), content)
    tensors = dict(_tensors(content))
    if not tensors:
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise ModelError(f"{file}: holds no tensors by name (it holds: {keys}). Give the file of a network's weights.")
    return tensors


def read_pickled(file: Path) -> object:
    """Everything in a pickled file: dictionaries, lists, tuples, numbers, text, bytes and tensors.

    Raises ModelError where the file is damaged, or asks for anything else, which is then named.
    """
    try:
        with file.open("rb") as stream:
            return _from_zip(file) if zipfile.is_zipfile(stream) else _from_stream(file)
    except Refused as refused:
        raise ModelError(
            f"{file}: is refused: it asks for {refused}, and reading that could run anybody's code. Only arrays in "
            "plain containers are read. Get the .safetensors version, or convert it where that does no harm."
        ) from None
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ModelError(f"{file}: cannot be read as a pickled file ({reason}). Get it again.") from error


def _tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Tensor):
                value = value[1]  # paddle writes a tensor as its name and its values
            if isinstance(value, Tensor):
                yield str(name), value


def _from_zip(file: Path) -> object:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1 or any(name.endswith("/constants.pkl") for name in names):
            raise Refused("a program (a TorchScript archive)" if found else "a zip archive that torch did not write")
        root = found[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise Refused("a machine whose numbers have their bytes in the opposite order")
        storages: dict[str, Storage] = {}

        def storage(reference: object) -> Storage:
            key, dtype, count = _reference(reference)
            if key not in storages:
                storages[key] = storage_of(_stored(archive, f"{root}data/{key}", count * dtype.itemsize), dtype)
            return storages[key]

        pickle = _stored(archive, found[0], archive.getinfo(found[0]).file_size)
        return interpret(BytesIO(pickle), ARRAYS | STORAGES, storage)


def _stored(archive: zipfile.ZipFile, name: str, size: int) -> bytearray:
    """The bytes of an entry, which torch never compresses: so an entry cannot be larger than its file."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != size:
        raise ValueError(f"{name} has {info.file_size} bytes where {size} are announced")
    return bytearray(archive.read(info))


def _from_stream(file: Path) -> object:
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = interpret(stream, ARRAYS, _no_references)
        if first != MAGIC:
            return first
        interpret(stream, {}, _no_references)  # the version of the protocol
        machine = interpret(stream, {}, _no_references)
        if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
            raise Refused("a machine whose numbers have their bytes in the opposite order")
        storages: dict[str, Storage] = {}

        def storage(reference: object) -> Storage:
            key, dtype, count = _reference(reference)
            if key not in storages:
                if sum(len(s.values) * s.values.itemsize for s in storages.values()) + count * dtype.itemsize > size:
                    raise ValueError("more numbers are announced than the file has bytes")
                storages[key] = Storage(torch.empty(count, dtype=dtype))
            return storages[key]

        content = interpret(stream, ARRAYS | STORAGES, storage)
        _fill(stream, storages, interpret(stream, {}, _no_references))
        return content


def _fill(stream: BinaryIO, storages: Mapping[str, Storage], order: object) -> None:
    """Read the numbers of the old layout, which follow the pickle: for each storage a count and its bytes."""
    if not isinstance(order, list) or set(order) != set(storages):
        raise ValueError("the storages at the end are not those that the tensors name")
    for key in order:
        values = storages[key].values
        (count,) = struct.unpack("<q", stream.read(8))
        content = stream.read(values.nbytes)
        if count != len(values) or len(content) != values.nbytes:
            raise EOFError(f"storage {key} is cut short")
        if count:
            values.copy_(storage_of(bytearray(content), values.dtype).values)


def _reference(reference: object) -> tuple[str, torch.dtype, int]:
    """The key, type and length of a storage that a tensor refers to."""
    if isinstance(reference, tuple) and len(reference) in (5, 6):
        kind, dtype, key, _, count = reference[:5]
        if kind == "storage" and isinstance(dtype, torch.dtype) and isinstance(key, str) and isinstance(count, int):
            if len(reference) == 6 and reference[5] is not None:
                raise Refused("a storage inside another one, which torch has not written since 0.4")
            if count < 0:
                raise ValueError(f"storage {key} has {count} numbers")
            return key, dtype, count
    raise Refused("something outside the file that is no storage")


def _no_references(_: object) -> object:
    raise Refused("something outside the file")
