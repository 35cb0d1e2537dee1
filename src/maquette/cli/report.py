"""`maquette report`: the page of a run, written again."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.")],
) -> None:
    """Write the report of a run again, as far as it has come: one page that holds everything and needs no network."""
    from maquette.report.html import write_report
    from maquette.runs.rundir import open_run

    typer.echo(f"{write_report(open_run(run))} is written.")
