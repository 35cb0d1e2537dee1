"""The files of a run -> what there is to tell about it, as far as it has come."""

import json
from collections.abc import Iterable, Sequence

from maquette.config.load import load_config
from maquette.config.schema import RunConfig
from maquette.errors import CheckpointError, DataError
from maquette.report.base import base_of
from maquette.report.charts import Series
from maquette.report.exports import Export, find_exports
from maquette.report.facts import Facts, Preview
from maquette.report.pictures import FOLDER, Thumbnail, read_thumbnails
from maquette.report.privacy import without_paths
from maquette.runs.best import Best, read_best
from maquette.runs.events import Finished, Grouped, Log, Previewed, Scored, Started, Step, Warned, read_events
from maquette.runs.rundir import RunDir
from maquette.runs.scores import StrengthRange, read_scores


def read_facts(run: RunDir) -> Facts:
    """Everything a report tells about a run.

    Raises ConfigError for a damaged config.toml and DataError for a damaged event log; what else cannot be read is told
    as one of the problems.
    """
    problems: list[str] = []
    config = load_config(run.config)
    log = read_events(run.events) if run.events.is_file() else Log(())
    steps, started, finished = log.of(Step), log.of(Started), log.of(Finished)
    done = [event.step for event in log.events if not isinstance(event, Previewed | Scored | Warned)]
    return Facts(
        name=run.root.resolve().name,
        config=config,
        base=base_of(config.model),
        steps_done=max(done, default=0),
        steps=started[-1].steps if started else _planned(config),
        is_finished=bool(finished),
        sittings=[event.step for event in started],
        seconds=finished[-1].seconds if finished else sum(event.seconds for event in steps),
        step_seconds=sum(event.seconds for event in steps),
        images_seen=steps[-1].images_seen if steps else 0,
        peak_memory=max((event.memory_bytes for event in steps if event.memory_bytes is not None), default=None),
        loss=Series("loss", [e.step for e in steps], [e.loss for e in steps]),
        grad_norm=Series("gradient norm", [e.step for e in steps], [e.grad_norm for e in steps]),
        scores=list(_scores(log.of(Scored))),
        networks={event.name: event.network for event in log.of(Scored) if event.network},
        best=_best(run, problems),
        rates=list(_rates(steps)),
        groups=[group for event in log.of(Grouped)[-1:] for group in event.groups],
        previews=list(_previews(run, log, problems)),
        pictures=_pictures(run, problems),
        exports=_exports(run, problems),
        warnings=[(event.step, without_paths(event.message)) for event in log.of(Warned)],
        versions=_versions(run, problems),
        strength=_strength(run, problems),
        start=_start(run, problems),
        problems=problems,
    )


def _planned(config: RunConfig) -> int:
    return 0 if config.training.steps == "auto" else config.training.steps


def _scores(events: Iterable[Scored]) -> Iterable[Series]:
    named: dict[str, list[Scored]] = {}
    for event in events:
        named.setdefault(event.name, []).append(event)
    for name, group in named.items():
        low, high = [event.low for event in group], [event.high for event in group]
        yield Series(name, [event.step for event in group], [event.value for event in group], "marks", low, high)


def _rates(steps: Sequence[Step]) -> Iterable[Series]:
    """The learning rate of every group; one that halts, or begins late, has its own stretch of steps."""
    for name in dict.fromkeys(name for event in steps for name in event.lr):
        having = [event for event in steps if name in event.lr]
        yield Series(name, [event.step for event in having], [event.lr[name] for event in having])


def _previews(run: RunDir, log: Log, problems: list[str]) -> Iterable[Preview]:
    for event in log.of(Previewed):
        file = run.root / event.path
        if file.resolve().is_relative_to(run.root.resolve()):
            yield Preview(event.step, event.prompt, event.seed, file, event.scores)
        else:  # a run that came from somewhere else may not name pictures of this machine
            problems.append(f"The preview of step {event.step} lies outside of the run's folder and is left out.")


def _pictures(run: RunDir, problems: list[str]) -> list[Thumbnail]:
    try:
        found = list(read_thumbnails(run.root / FOLDER))
    except (ValueError, KeyError, TypeError) as error:
        problems.append(f"{FOLDER}/metadata.jsonl is damaged ({error}), so the training pictures are not shown.")
        return []
    gone = [f"{FOLDER}/{each.file.name}" for each in found if each.file is not None and not each.file.is_file()]
    problems += [f"{name} is gone." for name in gone]
    return [Thumbnail(each.caption, each.file if each.file and each.file.is_file() else None) for each in found]


def _exports(run: RunDir, problems: list[str]) -> list[Export]:
    try:
        return find_exports(run.export, run.root)
    except CheckpointError as error:
        problems.append(without_paths(str(error)))
        return []


def _best(run: RunDir, problems: list[str]) -> Best | None:
    try:
        return read_best(run)
    except DataError as error:
        problems.append(without_paths(str(error)))
        return None


def _strength(run: RunDir, problems: list[str]) -> StrengthRange | None:
    if not run.strengths.is_file():
        return None
    try:
        return read_scores(run.strengths).strength
    except DataError as error:
        problems.append(without_paths(str(error)))
        return None


def _start(run: RunDir, problems: list[str]) -> list[float]:
    if not run.start.is_file():
        return []
    try:
        return [float(layer["energy"]) for layer in json.loads(run.start.read_text(encoding="utf-8")).values()]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        problems.append(f"{run.start.name} is damaged ({error}).")
        return []


def _versions(run: RunDir, problems: list[str]) -> dict[str, str]:
    if not run.versions.is_file():
        return {}
    try:
        found = json.loads(run.versions.read_text(encoding="utf-8"))
        return _flat(found) if isinstance(found, dict) else {}
    except ValueError as error:
        problems.append(f"{run.versions.name} is damaged ({error}).")
        return {}


def _flat(found: dict[str, object]) -> dict[str, str]:
    """Versions by name, whatever group they stand in; a group's more exact word replaces the one before it."""
    flat: dict[str, str] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            flat |= _flat(value)
        elif value is not None:
            flat[name] = without_paths(str(value))
    return flat
