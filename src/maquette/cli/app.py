"""The `maquette` command: its subcommands, and what becomes of errors."""

import errno
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from maquette import __version__
from maquette.cli.check import check
from maquette.cli.compare import compare
from maquette.cli.config import config
from maquette.cli.convert import convert
from maquette.cli.evaluate import evaluate
from maquette.cli.fuse import fuse
from maquette.cli.generate import generate
from maquette.cli.init import init
from maquette.cli.migrate import migrate
from maquette.cli.plan import plan
from maquette.cli.presets import presets
from maquette.cli.publish import publish
from maquette.cli.report import report
from maquette.cli.train import train
from maquette.cli.world import world_app
from maquette.errors import EndedElsewhere, Interrupted, MaquetteError
from maquette.training.launch import launched_rank

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Disks that are full or closed: nothing that maquette could have done better."""

app = typer.Typer(
    name="maquette",
    help="Teach a text-to-image diffusion model a subject, a style or a face, from a few pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # `main` turns exceptions into sentences
)
app.command()(train)
app.command()(plan)
app.command()(generate)
app.command()(evaluate)
app.command()(compare)
app.command()(check)
app.command()(report)
app.command()(publish)
app.command()(convert)
app.command()(fuse)
app.command()(config)
app.command()(presets)
app.command()(init)
app.command(context_settings={"ignore_unknown_options": True})(migrate)  # the flags are another trainer's
app.add_typer(world_app, name="world")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maquette {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 2: a mistake in what was asked, explained in one paragraph. 130: interrupted. 1: a fault of maquette's own,
    with the traceback in a file that is named.
    """
    _TERMINAL.setLevel(logging.WARNING if launched_rank() == 0 else logging.CRITICAL)  # the first process speaks
    logging.getLogger("maquette").addHandler(_TERMINAL)  # adding it twice is adding it once
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it tells of packages that nothing here wants
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels that nothing here calls
    try:
        code = app(args=arguments, prog_name="maquette", standalone_mode=False)
    except Interrupted as stop:
        return _stopped(str(stop))
    except EndedElsewhere as error:
        return error.code
    except MaquetteError as error:
        return _say(str(error), 2)
    except typer.TyperException as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped("interrupted.")
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stdout = None
        return 0
    except OSError as error:
        return _say(_disk_of(error), 2) if error.errno in DISK else _fault(error)
    except Exception as error:  # noqa: BLE001 - the outermost edge: whatever it is, the user gets a sentence
        return _fault(error)
    if code == 130:  # what typer makes of Ctrl-C
        return _stopped("interrupted.")
    return code if isinstance(code, int) else 0


def _stopped(message: str) -> int:
    typer.echo(message, err=True)
    return 130


def _misused(error: typer.TyperException) -> int:
    """A flag or argument that typer does not accept; without a message it has shown the help that was meant."""
    if not error.format_message():
        return 2
    command = getattr(getattr(error, "ctx", None), "command_path", "maquette")
    return _say(f"{error.format_message()} See `{command} --help`.", 2)


def _say(message: str, code: int) -> int:
    typer.secho("error: ", fg="red", err=True, nl=False)
    typer.echo(message, err=True)
    return code


def _disk_of(error: OSError) -> str:
    """What a full or closed disk means for the person who has it."""
    place = f"{error.filename}: " if error.filename else ""
    return (
        f"{place}cannot be written or read ({error.strerror}). Make room there, allow it, or name another place. "
        "A run that had begun goes on with --resume."
    )


def _fault(error: Exception) -> int:
    return _say(f"{type(error).__name__}: {error}\nThis is a fault of maquette. {_log_of(error)}", 1)


def _log_of(error: Exception) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="maquette-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(f"maquette {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n")
        traceback.print_exception(error, file=log)
    return f"The full account is in {log.name}"


class _Terminal(logging.Handler):
    """Shows what the library has to say (its log) as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


_TERMINAL = _Terminal(logging.WARNING)
