"""The one tree of errors: everything maquette raises on purpose, so that a caller can catch all of it or one branch."""


class MaquetteError(Exception):
    """A problem that the person at the keyboard can act on: the command line prints its message and exits with code 2.

    A message says what is wrong and with which value, where (file, dotted key, module path), what is allowed, and what
    to do. When a problem has several instances, one error names them all.
    """


class ConfigError(MaquetteError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another one."""


class DataError(MaquetteError):
    """A picture, a caption or a data set cannot be read or used as asked."""


class CheckpointError(MaquetteError):
    """A file that a run wrote (checkpoint, adapter, manifest) is damaged, incomplete or of another run."""


class ModelError(MaquetteError):
    """A base model is missing, of an unknown kind, or does not have what was asked of it."""


class MissingDependencyError(MaquetteError):
    """An optional package is needed and not installed; the message names the extra that brings it."""


class EndedElsewhere(MaquetteError):
    """Another process of the same run has ended with an error and says why: this one ends with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__("another process of this run has ended, and says why.")
        self.code = code


class Interrupted(MaquetteError):
    """The run was asked to stop and has saved its state: the command line exits with code 130."""


def first_line(error: Exception) -> str:
    """What a library's error says, as far as it fits into a message of ours; its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
