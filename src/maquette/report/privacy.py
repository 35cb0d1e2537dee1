"""What a page that is passed on must not tell: whose machine it came from."""

import re
from pathlib import Path, PurePath

_ABSOLUTE = re.compile(r"(?<![\w:/.\\])(?:~[\w.-]*|[A-Za-z]:)?[\\/]+(?:[^\\/\s\"'`,;:]+[\\/]+)*(?=[^\\/\s])")
_QUOTED = re.compile(r"([\"'`])(?:~[\w.-]*|[A-Za-z]:)?[\\/][^\"'`\n]*[\\/](?=[^\"'`\\/\n]+\1)")
"""In quotes, a folder's name may hold spaces and all else."""


def without_paths(text: str) -> str:
    """The text with every absolute path cut to its last part; relative paths, hub ids and addresses stay."""
    return _ABSOLUTE.sub("", _QUOTED.sub(r"\1", text))


def named(value: str | PurePath) -> str:
    """A file or folder as it may be shown: an absolute path, or one from the home folder, by its last part alone."""
    path = Path(value)
    return path.name if path.is_absolute() or str(value).startswith("~") else str(value)
