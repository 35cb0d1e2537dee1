"""One thing or several on one suite: pictures are made where they are missing, scored, and compared."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.config.suites import Suite
from maquette.errors import ConfigError, DataError
from maquette.evaluation.asking import Wish, Wishes, wishes_of
from maquette.evaluation.contest import components, metrics_of
from maquette.evaluation.differences import differences
from maquette.evaluation.dreambooth import Lists, find_lists, read_lists
from maquette.evaluation.learned import Asked, Concept, concepts_of, wordings_of
from maquette.evaluation.metric import EvalSet, Pictures, Score
from maquette.evaluation.metrics import COUNTS, METRICS, Part, metric_named, parts_needed
from maquette.evaluation.networks import Networks
from maquette.evaluation.pictures import load_files, load_real
from maquette.evaluation.strength import recommended
from maquette.evaluation.target import Opening, Target, base_target
from maquette.generation.batch import make_pictures, name_of
from maquette.generation.sample import Request
from maquette.runs.scores import Evaluation, Measured, Scores, Shot

ANEW = "Move this folder away, and its pictures are made anew."
"""What to do about pictures of another state; `compare` keeps them with each target, whatever its --out is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all things under evaluation are asked for, and the real pictures that they are compared with."""

    suite: Suite
    concepts: tuple[Concept, ...]
    lists: Lists | None
    asked: Asked


def metric_names(suite: Suite) -> list[str]:
    """The metrics of a suite, those of a total among them. Raises ConfigError for a name that there is not."""
    contest = suite.config.contest
    names = [*suite.config.metrics, *(metrics_of(contest.mode).values() if contest is not None else ())]
    for name in names:
        metric_named(name)
    return list(dict.fromkeys(names))


def prepare(targets: Sequence[Target], suite: Suite, asked: Asked) -> Bench:
    """Everything that can be wrong before a picture is made: names, words, folders, and what metrics need.

    Raises ConfigError or DataError.
    """
    needed = parts_needed(metric_names(suite))
    _require_prompts(suite, needed)
    lists = None
    if suite.config.dataset is not None:
        lists = read_lists(find_lists(_dataset_folder(targets, asked)))
    concepts = concepts_of(targets, suite.config, asked, lists, needs_real="references" in needed)
    if lists is not None and (strange := [each.name for each in concepts if each.name not in lists.classes]):
        raise ConfigError(
            f"{', '.join(strange)}: is no subject of this data set, which has {', '.join(lists.classes)}. Give "
            "--references the folder of one of them."
        )
    bench = Bench(suite, tuple(concepts), lists, asked)
    for target in targets:
        _wishes(target, bench)
    return bench


def evaluate(targets: Sequence[Target], bench: Bench, networks: Networks, folders: Sequence[Path], out: Path) -> Scores:
    """Make what pictures are missing, score all targets, and compare each with the first.

    folders: where the pictures of each target go. out: the folder that file names are relative to. Of targets that are
    one adapter at several strengths, some are recommended.
    """
    references = {concept.name: load_real(concept.real) for concept in bench.concepts if concept.real}
    evaluations = []
    for target, folder in zip(targets, folders, strict=True):
        wishes = _wishes(target, bench)
        make_pictures(target.maker, wishes.requests, folder, cure=ANEW)
        base = folder
        if wishes.neutral and not target.is_base:
            base = folder.parent / "base"
            plain = base_target(Opening(device=target.maker.device), target)
            make_pictures(plain.maker, wishes.neutral, base, cure=ANEW)
        pictures = EvalSet(
            generated=_made(folder, [wish.request for wish in wishes.subjects]),
            prompts=[wish.scored for wish in wishes.subjects],
            concepts=[wish.concept for wish in wishes.subjects],
            references=references,
            candidates=tuple(dict.fromkeys(wish.scored for wish in wishes.subjects)),
            class_images={name: _made(folder, requests) for name, requests in wishes.classes.items()},
            neutral=_made(folder, wishes.neutral),
            neutral_base=_made(base, wishes.neutral),
        )
        shots = [_shot(wish, folder / name_of(wish.request), out) for wish in wishes.subjects]
        evaluations.append(measure(target.name, pictures, shots, bench.suite, networks, target.strength))
    return summed_up(evaluations, bench.suite)


def summed_up(evaluations: Sequence[Evaluation], suite: Suite) -> Scores:
    """All evaluations of one suite with their differences, and the strengths to recommend. Names of metrics agree."""
    scores = [score for each in evaluations for score in each.scores]
    return Scores(
        suite=suite.name,
        about=suite.about,
        networks=tuple(dict.fromkeys(score.network for score in scores if score.network)),
        evaluations=tuple(evaluations),
        differences=differences(evaluations) if len(evaluations) > 1 else (),
        strength=recommended(evaluations) if evaluations[0].strength is not None else None,
        warnings=tuple(dict.fromkeys(warning for score in scores for warning in score.warnings)),
    )


def measure(
    name: str,
    pictures: EvalSet,
    shots: Sequence[Shot],
    suite: Suite,
    networks: Networks,
    strength: float | None = None,
    leave_out: Sequence[str] = (),
) -> Evaluation:
    """Every metric of a suite on one set of pictures.

    A metric that these pictures cannot have (no face in any of them) is no score, with the reason; the others still
    count. Raises DataError where none can be measured.
    """
    found: dict[str, Score | DataError] = {}
    for metric in metric_names(suite):
        if metric not in leave_out:
            try:
                found[metric] = METRICS[metric](networks)(pictures)
            except DataError as error:
                found[metric] = error
    if not any(isinstance(score, Score) for score in found.values()):
        raise DataError(f"{name}: nothing could be measured. " + " ".join(dict.fromkeys(map(str, found.values()))))
    measured = tuple(_measured(metric, score, pictures) for metric, score in found.items())
    values = {score.name: score.value for score in measured}
    scored = [
        Shot(
            file=shot.file,
            text=shot.text,
            prompt=shot.prompt,
            scored=shot.scored,
            seed=shot.seed,
            concept=shot.concept,
            scores={m: _at(score, i) for m, score in found.items() if isinstance(score, Score) and score.per_image},
        )
        for i, shot in enumerate(shots)
    ]
    return Evaluation(name, measured, tuple(scored), strength, _totals(suite, values))


def _measured(metric: str, score: Score | DataError, pictures: EvalSet) -> Measured:
    if isinstance(score, DataError):
        return Measured(metric, math.nan, math.nan, math.nan, None, 0, "", (f"{metric}: {score}",))
    concepts: dict[str, float] = {}
    if len(set(pictures.concepts)) > 1 and score.per_image:
        for concept in dict.fromkeys(pictures.concepts):
            rows = [i for i, name in enumerate(pictures.concepts) if name == concept]
            values = [value for i in rows if (value := score.per_image[i]) is not None]
            concepts[concept] = sum(values) / (1 if metric in COUNTS else len(values)) if values else math.nan
    warnings = tuple(f"{metric}: {warning}." for warning in (w.rstrip(".") for w in score.warnings))
    return Measured(
        metric, score.value, score.low, score.high, score.better, score.n, score.network, warnings, concepts
    )


def _at(score: Score, i: int) -> float:
    value = score.per_image[i] if score.per_image else None
    return math.nan if value is None else value


def _totals(suite: Suite, values: Mapping[str, float]) -> dict[str, float]:
    contest = suite.config.contest
    if contest is None or not set(metrics_of(contest.mode).values()) <= values.keys():
        return {}
    parts = components(values, contest.mode)
    return {"quality Q": parts.quality, "guard P": parts.guard, "total": parts.total}


def _wishes(target: Target, bench: Bench) -> Wishes:
    wordings = wordings_of(target, bench.concepts, bench.asked)
    concepts = list(zip(bench.concepts, wordings, strict=True))
    wishes = wishes_of(bench.suite.config, concepts, bench.lists, is_base=target.is_base)
    if len(wishes.subjects) < 2:
        raise ConfigError(
            f"suite {bench.suite.name}: asks for a single picture, and one alone has no interval. Raise num (--set "
            "num=4), or add prompts."
        )
    return wishes


def _shot(wish: Wish, file: Path, out: Path) -> Shot:
    name = Path(os.path.relpath(file, out)).as_posix()
    return Shot(name, wish.text, wish.request.prompt, wish.scored, wish.request.seed, wish.concept, {})


def _made(folder: Path, requests: Sequence[Request]) -> Pictures:
    return load_files([folder / name_of(request) for request in requests])


def _require_prompts(suite: Suite, needed: frozenset[Part]) -> None:
    """A metric of other pictures than the subject's needs prompts for them."""
    shown = {prompt.shows for prompt in suite.config.prompts}
    lacking = {
        shows: [name for name in metric_names(suite) if part in parts_needed([name])]
        for part, shows in (("class_images", "class"), ("neutral", "neutral"))
        if part in needed and shows not in shown
    }
    if lacking:
        told = "; ".join(f'{", ".join(names)} with shows = "{shows}"' for shows, names in lacking.items())
        raise ConfigError(
            f"suite {suite.name}: some metrics need pictures of other prompts than the subject's, and there are none: "
            f"{told}. Add a table [[prompts]] for each, or leave these metrics out."
        )


def _dataset_folder(targets: Sequence[Target], asked: Asked) -> Path:
    if asked.references is not None:
        return asked.references
    folders = [target.config.data.folder for target in targets if target.config is not None]
    folder = next((folder for folder in folders if folder is not None), None)
    if folder is None:
        raise ConfigError(
            "This suite takes its prompts from the DreamBooth data set: name the folder of a subject in a copy of it "
            "with --references."
        )
    return folder
