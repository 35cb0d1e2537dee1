"""Pictures that somebody made already, scored by a suite's metrics."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.config.suites import Suite
from maquette.errors import DataError
from maquette.evaluation.dreambooth import find_lists, read_lists
from maquette.evaluation.evaluate import measure, metric_names, summed_up
from maquette.evaluation.learned import Asked
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.metrics import parts_needed
from maquette.evaluation.networks import Networks
from maquette.evaluation.pictures import Finished, Real, list_finished, load_files, load_real, real_of
from maquette.evaluation.wording import Wording
from maquette.runs.scores import Scores, Shot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Finished pictures, what text networks read of each prompt, real pictures, and metrics that cannot be had."""

    name: str
    pictures: tuple[Finished, ...]
    scored: tuple[str, ...]
    real: Mapping[str, tuple[Real, ...]]
    leave_out: tuple[str, ...]


def prepare_finished(folder: Path, suite: Suite, asked: Asked) -> Found:
    """What a folder holds, and what it is compared with. Raises ConfigError or DataError before anything is scored."""
    names = metric_names(suite)
    others = [name for name in names if parts_needed([name]) & {"class_images", "neutral"}]
    if others:
        logger.warning("%s cannot be measured on finished pictures alone, and is left out.", ", ".join(others))
    pictures = list_finished(folder)
    if len(pictures) < 2:
        raise DataError(f"{folder}: holds a single picture, and a score needs at least two to say how sure it is.")
    concepts = list(dict.fromkeys(picture.concept for picture in pictures))
    listed: dict[str, str] = {}
    if suite.config.dataset is not None and asked.references is not None:
        lists = read_lists(find_lists(asked.references))
        subjects = zip(concepts, lists.called(concepts, asked.references), strict=True)
        listed = {concept: lists.classes[subject] for concept, subject in subjects if subject in lists.classes}
    needed = parts_needed([name for name in names if name not in others])
    return Found(
        folder.resolve().name,
        tuple(pictures),
        tuple(_scored(picture, suite, asked, listed.get(picture.concept)) for picture in pictures),
        _real(concepts, asked) if "references" in needed else {},
        tuple(others),
    )


def evaluate_finished(found: Found, suite: Suite, networks: Networks, out: Path) -> Scores:
    """The scores of finished pictures; file names in them are relative to ``out``."""
    pictures = EvalSet(
        generated=load_files([picture.file for picture in found.pictures]),
        prompts=found.scored,
        concepts=[picture.concept for picture in found.pictures],
        references={concept: load_real(real) for concept, real in found.real.items()},
        candidates=tuple(dict.fromkeys(found.scored)),
    )
    shots = [
        Shot(Path(os.path.relpath(p.file, out)).as_posix(), scored, p.prompt, scored, p.seed, p.concept, {})
        for p, scored in zip(found.pictures, found.scored, strict=True)
    ]
    return summed_up([measure(found.name, pictures, shots, suite, networks, leave_out=found.leave_out)], suite)


def _scored(picture: Finished, suite: Suite, asked: Asked, listed: str | None) -> str:
    noun = asked.noun or listed or suite.config.noun or ""
    return Wording(asked.subject or "", noun).text_of(picture.prompt)


def _real(concepts: Sequence[str], asked: Asked) -> dict[str, tuple[Real, ...]]:
    """Real pictures of each concept, from folders of the same names, or from one folder for a single concept."""
    root = asked.references
    if root is None:
        raise DataError(
            "This suite compares with real pictures: name their folder with --references, with one folder in it for "
            f"each concept ({', '.join(concepts)})."
        )
    return dict(zip(concepts, real_of(root, concepts), strict=True))
