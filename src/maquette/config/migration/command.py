"""A training command as its parts: the script, its flags, and how many processes the launcher starts."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from maquette.config.migration.scripts import SCRIPTS, Script
from maquette.errors import ConfigError

_COUNTS = frozenset({"num_processes", "nproc_per_node"})
_DEVICES = frozenset({"gpus", "gpu_ids", "devices"})
_SECRETS = frozenset({"hub_token", "huggingface_token", "wandb_api_key"})
_FLAG = re.compile(r"--?[A-Za-z]")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Given:
    """One setting of another trainer: its name, its values (none: a switch that is on), and how it was written.

    is_default: nobody wrote it; it is what the script does by itself.
    """

    name: str
    values: tuple[object, ...]
    said: str
    is_default: bool = False

    @property
    def value(self) -> object:
        """Its value; True for a switch, an array where there are several."""
        return self.values[0] if len(self.values) == 1 else list(self.values) or True


@dataclass(frozen=True, slots=True)
class Command:
    """What a training command asks for. launcher: the launcher's own settings that have no meaning here."""

    script: Script
    given: Mapping[str, Given]
    processes: int = 1
    launcher: tuple[str, ...] = ()


def parse(text: str, environment: Mapping[str, str]) -> Command:
    """The one training command in a command line or a shell script; variables are replaced by what they stand for.

    environment: variables that the text itself does not set.
    Raises ConfigError where there is no such command or several, or where a variable is not set.
    """
    joined = re.sub(r"[\\^`][ \t]*(?:\r?\n|$)", " ", text)
    values = dict(environment)
    found = []
    for line in joined.splitlines():
        for words in _commands(line):
            rest = _assigned(words, values)
            if _script_at(rest) is not None:
                found.append([_replaced(word, values) for word in rest])
    if len(found) > 1:
        scripts = ", ".join(str(words[_script_at(words) or 0]) for words in found)
        raise ConfigError(f"the text holds {len(found)} training commands ({scripts}); give one at a time.")
    if not found:
        raise ConfigError(f"there is no training command in this text: {_known()}")
    return understood(found[0])


def understood(words: Sequence[str]) -> Command:
    """The command that is given as words. Raises ConfigError for a script that is not known."""
    at = _script_at(words)
    if at is None:
        raise ConfigError(f"there is no training script (NAME.py) among these words: {_known()}")
    name = PurePath(words[at]).stem
    if name not in SCRIPTS:
        raise ConfigError(f"{words[at]}: is not a script that is understood: {_known()}")
    if len(words) > at + 1 and not _FLAG.match(words[at + 1]):
        raise ConfigError(f"{words[at + 1]}: this word behind {words[at]} belongs to no flag; remove it.")
    given = flags(words[at + 1 :])
    processes, launcher = 1, []
    for flag in flags(words[:at]).values():
        if flag.name in _COUNTS:
            processes = int(str(flag.value)) if str(flag.value).isdecimal() else 1
        elif flag.name in _DEVICES:
            processes = len(str(flag.value).split(","))
        elif flag.name == "mixed_precision":
            given.setdefault(flag.name, flag)
        elif flag.said not in ("-u", "-m paddle.distributed.launch", "-m torch.distributed.run"):
            launcher.append(flag.said)
    return Command(SCRIPTS[name], given, processes, tuple(launcher))


def flags(words: Sequence[str]) -> dict[str, Given]:
    """The flags among words, by their names with underscores; of one that is given twice the last counts."""
    found: dict[str, Given] = {}
    name, said, values = "", "", []
    for word in [*words, "--"]:
        if _FLAG.match(word) or word == "--":
            if name:
                found[name] = Given(name, tuple(values), f"--{name}" if name in _SECRETS else said)
            written, equals, value = word.partition("=")
            name, said, values = written.lstrip("-").replace("-", "_").lower(), word, [value] if equals else []
        elif name and not (name == "m" and values):
            said, values = f"{said} {shlex.quote(word)}", [*values, word]
    return found


def _commands(line: str) -> Iterator[list[str]]:
    """The commands of one line, each as its words."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise ConfigError(f"this line is not one that a shell would read ({error}): {line.strip()[:80]}") from None
    command: list[str] = []
    for word in words:
        if word in ("&&", ";", "||", "|", "&"):
            yield command
            command = []
        else:
            command.append(word)
    yield command


def _assigned(words: Sequence[str], values: dict[str, str]) -> list[str]:
    """The words behind the assignments at the beginning, which go into ``values``."""
    rest = list(words)
    while rest and rest[0] in ("export", "set", "--", "!", "$"):
        rest.pop(0)
    while rest and _ASSIGNMENT.match(rest[0]):
        name, _, value = rest.pop(0).partition("=")
        values[name] = _VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), value)
    return rest


def _replaced(word: str, values: Mapping[str, str]) -> str:
    missing = [name for found in _VARIABLE.findall(word) for name in found if name and name not in values]
    if missing:
        raise ConfigError(
            f"{word}: the variable {missing[0]} is not set. Give the lines that set it as well "
            f'(export {missing[0]}="..."), or write its value.'
        )
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], word)


def _script_at(words: Sequence[str]) -> int | None:
    return next((i for i, word in enumerate(words) if word.endswith(".py") and not word.startswith("-")), None)


def _known() -> str:
    return f"known scripts are {', '.join(f'{name}.py' for name in SCRIPTS)}."
