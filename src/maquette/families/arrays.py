"""What pickled files may refer to: numpy's arrays and torch's tensors, rebuilt from their bytes by our functions."""

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maquette.families.opcodes import Call, Refused


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A row of numbers that tensors are windows on."""

    values: Tensor


def storage_of(content: bytearray, dtype: torch.dtype) -> Storage:
    """The numbers that some bytes are; they share the memory."""
    return Storage(torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype))


def _tensor(storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    if not isinstance(storage, Storage):
        raise Refused("a tensor without a storage")
    if offset < 0 or min(size, default=0) < 0 or math.prod(size) > len(storage.values):
        raise ValueError(f"a tensor of shape {list(size)} in a storage of {len(storage.values)} numbers")
    return storage.values.as_strided(size, stride, offset)


def _parameter(tensor: object, *_: object) -> object:
    return tensor


@dataclass(frozen=True, slots=True)
class _Type:
    code: str

    def built(self, state: object) -> np.dtype:
        """The type with its order of bytes, which is in the state."""
        if not isinstance(state, tuple) or state[1] not in ("<", ">", "|", "="):
            raise ValueError("a type of numbers without an order of bytes")
        return np.dtype(self.code if state[1] == "|" else state[1] + self.code)


def _type(code: object, *_: object) -> _Type:
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(?:[fiu][1248]|b1)", code):
        raise Refused(f"an array of type {code}" if isinstance(code, str) else "an array of no type")
    return _Type(code.lstrip("<>|="))


@dataclass(frozen=True, slots=True, eq=False)
class _Array:
    def built(self, state: object) -> Tensor:
        """The array, as a tensor, from (version, shape, type, whether columns come first, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without its five parts")
        _, shape, dtype, by_columns, content = state
        return _array(content, dtype, shape, "F" if by_columns else "C")


def _array(content: object, dtype: object, shape: object, order: object) -> Tensor:
    # Python 2 wrote bytes as text, which is read as Latin 1.
    content = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise Refused("an array of anything but numbers")
    if order not in ("C", "F"):
        raise ValueError(f"an array in the order {order}")
    values = np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")
    return torch.from_numpy(np.array(values, dtype=dtype.newbyteorder("="), order="C"))


def _number(dtype: object, content: object) -> object:
    return _array(content, dtype, (), "C").item()


def _bytes(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"text encoded as {encoding}")
    return text.encode("latin1")


def _dictionary(pairs: object = ()) -> dict[object, object]:
    if not isinstance(pairs, list | tuple):
        raise Refused("a dictionary of no pairs")
    result: dict[object, object] = {}
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise Refused(f"a key of type {type(key).__name__}")
        result[key] = value
    return result


def _calls(*calls: Call) -> dict[str, object]:
    return {call.name: call for call in calls}


ARRAYS: dict[str, object] = {
    **_calls(
        Call("collections.OrderedDict", _dictionary),
        Call("_codecs.encode", _bytes),  # how Python 3 writes bytes for Python 2 to read
        *(Call(f"{module}.tuple", tuple) for module in ("builtins", "__builtin__")),  # paddle's nested tensors
        Call("numpy.dtype", _type),
        *(Call(f"numpy.{core}.multiarray._reconstruct", lambda *_: _Array()) for core in ("core", "_core")),
        *(Call(f"numpy.{core}.multiarray.scalar", _number) for core in ("core", "_core")),
        *(Call(f"numpy.{core}.numeric._frombuffer", _array) for core in ("core", "_core")),
    ),
    "numpy.ndarray": "numpy.ndarray",
}
"""Plain containers and numpy's arrays."""

_KINDS = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}

STORAGES: dict[str, object] = {
    **_calls(
        Call("torch._utils._rebuild_tensor", _tensor),
        Call("torch._utils._rebuild_tensor_v2", _tensor),
        Call("torch._utils._rebuild_parameter", _parameter),
        Call("torch.Size", tuple),
    ),
    **{f"torch.{name}Storage": dtype for name, dtype in _KINDS.items()},
    **{str(dtype): dtype for dtype in _KINDS.values()},
}
"""torch's tensors, in either of its layouts."""
