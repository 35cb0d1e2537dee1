"""`maquette publish`: a finished run on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    name: Annotated[str, typer.Argument(help="The repository: NAME for your own, or OWNER/NAME.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it. Without: only you, if it is new.")
    ] = False,
) -> None:
    """Upload what a run made to the Hugging Face hub, with its card and the card's pictures.

    Adapters or model, card, gallery and settings; never the cache, checkpoints or full-size training pictures.
    """
    from maquette.report.publish import check_login
    from maquette.report.publish import publish as upload
    from maquette.runs.rundir import open_run

    run = open_run(folder)
    typer.echo(f"Published: {upload(run, check_login(name), public=public)}")
