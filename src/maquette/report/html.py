"""A run -> report.html: one page that holds everything it shows, and asks nobody for anything."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from maquette import __version__
from maquette.report.charts import short
from maquette.report.choice import choice_of
from maquette.report.curves import charts_of, last_loss
from maquette.report.facts import Facts
from maquette.report.grid import Row, grid_of
from maquette.report.halves import how_to_use
from maquette.report.pareto import pareto_of
from maquette.report.pictures import Embedded, embed
from maquette.report.read import read_facts
from maquette.report.settings import changed, settings_of
from maquette.report.usage import notes
from maquette.report.words import bytes_in_words, duration, pace, start_of, what_it_is
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir

PICTURES = 24
"""So many training pictures are shown; the page says how many more there are."""


def write_report(run: RunDir) -> Path:
    """Write, or write again, the report of a run; returns its path.

    Works at any time after a run began. Raises ConfigError or DataError where its settings or its log are damaged.
    """
    write_text(run.report, render(read_facts(run)))
    return run.report


def render(facts: Facts) -> str:
    """The page of a run, as far as it has come."""
    groups = settings_of(facts.config)
    grid = grid_of(facts.previews)
    pictures = _thumbnails(facts)
    captions = {picture.caption for picture in facts.pictures}
    return render_page(
        "report.html",
        facts=facts,
        what=what_it_is(facts),
        numbers=key_numbers(facts),
        pictures=pictures,
        shows_pictures=any(picture for picture, _ in pictures),
        shared_caption=captions.pop() if len(captions) == 1 else "",
        more_pictures=max(0, len(facts.pictures) - PICTURES),
        grid=grid,
        problems=[*facts.problems, *(f"{name} cannot be read." for name in grid.unreadable)],
        charts=charts_of(facts),
        pareto=pareto_of(facts),
        choice=choice_of(facts),
        usages=how_to_use(facts.subject),
        notes=notes(facts.subject),
        groups=groups,
        changed=changed(groups),
    )


def render_page(template: str, **values: object) -> str:
    """One of our pages with its values; style, script and version are the same in all."""
    page = _environment().get_template(template)
    return page.render(version=__version__, style=_part("report.css"), script=_part("report.js"), **values)


def key_numbers(facts: Facts) -> Mapping[str, str]:
    """What a person looks for first, in words."""
    adapter = next(iter(facts.exports), None)
    loss = last_loss(facts)
    told = {
        "Steps": f"{facts.steps_done:,}" if facts.is_finished else f"{facts.steps_done:,} of {facts.steps:,}",
        "Time": duration(facts.seconds) if facts.seconds else None,
        "Pace": pace(facts.steps_done / facts.step_seconds) if facts.step_seconds else None,
        "Pictures seen": f"{facts.images_seen:,}" if facts.images_seen else None,
        "Loss, smoothed": None if loss is None else short(loss),
        "Peak memory": None if facts.peak_memory is None else bytes_in_words(facts.peak_memory),
        "Start": start_of(facts),
        "File": None if adapter is None else bytes_in_words(adapter.num_bytes),
        "Seed": str(facts.config.training.seed),
    }
    return {name: value for name, value in told.items() if value is not None}


def _thumbnails(facts: Facts) -> list[tuple[Embedded | None, str]]:
    shown = []
    for thumbnail in facts.pictures[:PICTURES]:
        if thumbnail.file is None:
            shown.append((None, thumbnail.caption))
            continue
        with Image.open(thumbnail.file) as image:
            shown.append((embed(image, 256), thumbnail.caption))
    return shown


def _by_prompt(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    prompts = dict.fromkeys(row.prompt for row in rows)
    return [(prompt, [row for row in rows if row.prompt == prompt]) for prompt in prompts]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("maquette.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": bytes_in_words, "svg": Markup, "groupby_prompt": _by_prompt}
    return environment


def _part(name: str) -> Markup:
    """A style or script of ours, which goes into the page as it is."""
    return Markup(files("maquette.report").joinpath("templates", name).read_text(encoding="utf-8"))
