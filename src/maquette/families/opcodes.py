"""A reader of the pickle format that builds data and can do nothing else.

Python's own unpickler looks up and calls whatever a file names. This one is an interpreter of the opcodes that make
containers, numbers, text and bytes; what else a file wants called must stand in a table, or the file is refused.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, runtime_checkable

# fmt: off
PUSHED = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG",
    "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
))
# fmt: on
"""Opcodes that push the value that follows them."""

MADE: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
"""Opcodes that push something new."""

GATHERED: Mapping[str, Callable[[list[object]], object]] = {
    "LIST": list,
    "TUPLE": tuple,
    "DICT": lambda items: _put({}, items),
}
"""Opcodes that push a container of everything since the mark."""

IGNORED = frozenset({"PROTO", "FRAME"})


class Refused(Exception):
    """The file asks for something that is neither data nor in the table of what may be called; the text names it."""


@runtime_checkable
class Unbuilt(Protocol):
    """Something that is not complete before its state is known."""

    def built(self, state: object) -> object:
        """The complete thing, which replaces this one everywhere."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A function that a file may have called on its data; ``run`` is ours, and stands in for the one of that name."""

    name: str
    run: Callable[..., object]


MARK = object()


@dataclass(slots=True)
class _Machine:
    known: Mapping[str, object]
    persistent: Callable[[object], object]
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    unbuilt: list[int] = field(default_factory=list)

    def step(self, name: str, arg: object) -> None:
        """Do what one opcode says."""
        stack = self.stack
        if name in PUSHED:
            stack.append(arg)
        elif name in MADE:
            stack.append(MADE[name]())
        elif name in GATHERED:
            stack.append(GATHERED[name](self.since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            dotted = (
                str(arg).replace(" ", ".") if name == "GLOBAL" else ".".join(map(str, (stack.pop(-2), stack.pop())))
            )
            stack.append(self.find(dotted))
        elif not self.remember(name, arg) and not self.change(name) and name not in IGNORED:
            raise Refused(f"the opcode {name}")

    def remember(self, name: str, arg: object) -> bool:
        """Marks, and what a file puts aside to use it again; whether the opcode was one of these."""
        stack = self.stack
        match name:
            case "MARK":
                stack.append(MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                key = arg if isinstance(arg, int) else len(self.memo)
                self.memo[key] = stack[-1]
                if isinstance(stack[-1], Unbuilt):
                    self.unbuilt.append(key)
            case "GET" | "BINGET" | "LONG_BINGET":
                assert isinstance(arg, int)
                stack.append(self.memo[arg])
            case _:
                return False
        return True

    def change(self, name: str) -> bool:
        """Opcodes that fill containers, and those that call; whether the opcode was one of these."""
        stack = self.stack
        match name:
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items = self.since_mark()
                _extend(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _put(stack[-1], [key, value])
            case "SETITEMS":
                items = self.since_mark()
                _put(stack[-1], items)
            case "REDUCE" | "NEWOBJ":
                arguments, call = stack.pop(), stack.pop()
                if not isinstance(call, Call) or not isinstance(arguments, tuple):
                    raise Refused("a call of something that is no function")
                stack.append(call.run(*arguments))
            case "BUILD":
                self.build(stack.pop())
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case _:
                return False
        return True

    def find(self, dotted: str) -> object:
        """What stands in the table under a name. Raises Refused, naming it, where nothing does."""
        if dotted not in self.known:
            raise Refused(dotted)
        return self.known[dotted]

    def since_mark(self) -> list[object]:
        """Everything above the last mark, taken off with it."""
        at = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def build(self, state: object) -> None:
        """Complete what is on top, on the stack and where it was put aside; attributes of dictionaries are dropped."""
        top = self.stack[-1]
        if isinstance(top, dict):  # what torch calls the _metadata of a state dict
            return
        if not isinstance(top, Unbuilt):
            raise Refused("a state for something that has none")
        self.stack[-1] = top.built(state)
        for key in self.unbuilt:
            if self.memo[key] is top:
                self.memo[key] = self.stack[-1]
        self.unbuilt = [key for key in self.unbuilt if isinstance(self.memo[key], Unbuilt)]


def interpret(stream: BinaryIO, known: Mapping[str, object], persistent: Callable[[object], object]) -> object:
    """What one pickle says, leaving the stream behind it.

    known: by dotted name, what a file may refer to: plain values, and ``Call`` for what it may call.
    persistent: what the file's references to things outside the pickle stand for.
    Raises Refused, ValueError where the bytes are no pickle, and other built-in errors where it contradicts itself.
    """
    machine = _Machine(known, persistent)
    for opcode, arg, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            break
        machine.step(opcode.name, arg)
    return machine.stack.pop()


def _extend(target: object, items: list[object]) -> None:
    if not isinstance(target, list):
        raise Refused("items for something that is no list")
    target.extend(items)


def _put(target: object, items: list[object]) -> object:
    if not isinstance(target, dict):
        raise Refused("keys for something that is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing nested tuples that share their parts takes time exponential in their depth.
        if not isinstance(key, str | bytes | int | float | None):
            raise Refused(f"a key of type {type(key).__name__}")
        target[key] = value
    return target
