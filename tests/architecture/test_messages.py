"""What messages tell people to type exists: flags, on the command that says so, and keys of the settings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.architecture.test_command_line import FROZEN
from tests.architecture.test_layers import ROOT, sources, tree_of

from maquette.config.keys import keys
from maquette.config.schema import RunConfig

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(rf"maquette ({'|'.join(name for name in FROZEN if name)})((?: [^ `;]+)*)")
ANOTHER_PROGRAM = re.compile(r'"accelerate [^"]*"')
KEY = re.compile(rf"(?<![\w./-])(?:{'|'.join(RunConfig.model_fields)})(?:\.[a-z_]+)+(?![\w(/.])")

FILES = (".json", ".md", ".html", ".safetensors", ".pkl", ".dense")  # the last is a weight's name

OTHER_TOOLS = (
    "config/foreign.py",
    "config/kohya.py",
    "config/migration/",
    "training/launch.py",
    "training/versions.py",
)
"""Modules whose flags are those of other programs."""

SAID_BY = {
    "adapters/convert.py": ("convert", "fuse"),
    "adapters/worn.py": ("generate",),
    "cli/app.py": ("train",),
    "cli/pretrain.py": ("world pretrain",),
    "cli/scoring.py": ("evaluate", "compare"),
    "cli/series.py": ("train",),
    "cli/worn.py": ("generate", "fuse"),
    "config/": ("train", "plan", "config"),
    "config/suites.py": ("evaluate", "compare"),
    "data/": ("train",),
    "embedded/": ("world pretrain",),
    "embedded/folders.py": ("world subject", "world style", "world face", "world scenes"),
    "evaluation/": ("evaluate", "compare"),
    "evaluation/strength.py": ("evaluate",),
    "evaluation/target.py": ("evaluate",),
    "families/": ("generate", "fuse"),
    "families/kandinsky/decoder.py": ("train", "check", "generate", "fuse"),
    "generation/": ("generate",),
    "planning/": ("plan",),
    "report/": ("generate",),
    "report/publish.py": ("train",),
    "runs/": ("train",),
    "training/": ("train",),
}
"""Which commands say what a module writes: by the longest beginning of its path; else the command of its name. One
of them has the flag; what `check` says as well, `train` says first."""


def texts(file: Path) -> Iterator[str]:
    """Every string of a file that is no docstring, with f-strings in one piece and "{}" for what is put into them."""
    tree = tree_of(file)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | docstrings:
            yield node.value


def commands_of(name: str) -> tuple[str, ...]:
    """The commands that say what a module writes."""
    known = [beginning for beginning in SAID_BY if name.startswith(beginning)]
    return SAID_BY[max(known, key=len)] if known else (Path(name).stem,)


def wrong_flags(name: str, text: str) -> Iterator[str]:
    """Flags that a text names and that none of its commands, or not the command it spells out, has."""
    if FLAG.fullmatch(text):  # where a flag is declared
        return
    text = ANOTHER_PROGRAM.sub("", text)
    for command, arguments in COMMAND.findall(text):
        yield from (f"{name}: {command} {flag}" for flag in FLAG.findall(arguments) if not has(command, flag))
    for flag in FLAG.findall(COMMAND.sub("", text)):
        if not any(has(command, flag) for command in commands_of(name)):
            yield f"{name}: {flag}"


def has(command: str, flag: str) -> bool:
    return flag == "--help" or any(flag in spelled.split() for spelled in FROZEN[command])


def messages() -> list[tuple[str, str]]:
    return [(file.relative_to(ROOT).as_posix(), text) for file in sources() for text in texts(file)]


def test_flags_in_messages_exist_on_the_commands_that_say_them():
    told = [(name, text) for name, text in messages() if not name.startswith(OTHER_TOOLS)]
    assert sum(bool(FLAG.search(text)) for _, text in told) > 100
    assert [wrong for name, text in told for wrong in wrong_flags(name, text)] == []


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("data/scan.py", "Give one (--trigger sks).", ["data/scan.py: --trigger"]),
        ("data/scan.py", "Ask `maquette check photos/ --trigger sks`.", []),
        ("training/ready.py", "Try `maquette generate {} --resume`.", ["training/ready.py: generate --resume"]),
        ("cli/report.py", "--out", []),
    ],
)
def test_flags_of_another_command_are_found(name: str, text: str, wrong: list[str]):
    assert list(wrong_flags(name, text)) == wrong


def test_keys_in_messages_exist():
    known = {key.path.rsplit(".", n)[0] for key in keys() for n in range(key.path.count("."))}
    named = [(name, path) for name, text in messages() for path in KEY.findall(text) if not path.endswith(FILES)]
    assert len(named) > 100
    assert [(name, path) for name, path in named if path not in known] == []
