"""Scores along the way: the fixed set of pictures is made as previews are, read by the networks, and told."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
import torch
from PIL import Image

from maquette.config.data import ConceptConfig
from maquette.config.networks import NetworksConfig
from maquette.config.schema import RunConfig
from maquette.data.image import decode
from maquette.data.sample import Sample
from maquette.errors import CheckpointError, ConfigError
from maquette.evaluation.choice import Reading, Scale
from maquette.evaluation.fidelity import Likeness, Values, by_prompt, drift, ignored, likeness, measured, network_of
from maquette.evaluation.judges import NAMES as JUDGES
from maquette.evaluation.judges import told_unknown
from maquette.evaluation.metric import Picture, Pictures
from maquette.evaluation.networks import Networks, check_networks, judge_networks, open_networks
from maquette.evaluation.probes import Probe, probes
from maquette.evaluation.student import mean_interval
from maquette.evaluation.wording import Wording, wording_in
from maquette.families.load import EMBEDDED
from maquette.generation.sample import Request
from maquette.runs.events import Event, Log, Previewed, Scored
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, NAMES, OTHER_PROMPTS, PROMPT, Learned
from maquette.runs.rundir import RunDir
from maquette.training.prepare import Job
from maquette.training.previews import painted, told_if_black

LIKENESS: Final[Mapping[Learned, str]] = {"subject": "instance", "style": "style", "face": "face"}
"""The role of the network that likeness is measured by."""

REFERENCES = 64
"""At most so many training pictures of a concept are compared with, evenly spread over all of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What will be made and scored, each picture of the set with its request, and how each concept is called."""

    probes: Sequence[Probe]
    requests: Sequence[Request]
    wordings: Mapping[int, Wording]


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """What is made and scored again and again, what reads it, and what it is compared with.

    every: steps from one scoring to the next. is_diverse: whether diversity is measured.
    """

    probes: Sequence[Probe]
    requests: Sequence[Request]
    networks: Networks
    references: Mapping[int, Likeness]
    learned: Learned
    every: int
    is_diverse: bool

    def score(self, job: Job, run: RunDir, step: int) -> Iterator[Event]:
        """Make the pictures of a step, and tell each with its scores; then every score over all of them."""
        wanted = [(run.scored_picture(step, i), request) for i, request in enumerate(self.requests)]
        pictures: list[Picture] = []
        for path, _, picture in painted(job, run, wanted):
            pictures.append(picture)
            yield from told_if_black(step, path, picture)
        values = measured(
            self.networks, self.references, self.learned, self.probes, pictures, is_diverse=self.is_diverse
        )
        if step == 0:
            values |= ignored(self.networks, self.probes, pictures)
        else:
            values |= drift(self.networks, self.probes, pictures, untouched(run, len(self.probes)))
        for i, (path, request) in enumerate(wanted):
            own = {name: value for name, found in values.items() if (value := found[i]) is not None}
            yield Previewed(step, request.prompt, request.seed, run.relative(path), own)
        for name, found in values.items():
            counted = self._counted(name, found)
            if counted and name in NAMES:
                yield _summary(step, name, counted, network_of(self.networks, name))

    def readings(self, run: RunDir, log: Log) -> list[Reading]:
        """The scores of every step in a run's log, that of the base first."""
        told = {event.path: event for event in log.of(Previewed)}
        steps = sorted({event.step for event in told.values() if (run.root / event.path).parent == run.scored})
        paths = {step: [run.relative(run.scored_picture(step, i)) for i in range(len(self.probes))] for step in steps}
        return [self._reading(step, [told[path].scores for path in paths[step]]) for step in steps]

    def scale(self, log: Log) -> Scale:
        """What 0 and 1 are on the scale of the balance: from the scores of step 0, and from the training pictures."""
        base = [event.scores for event in log.of(Previewed) if event.step == 0]
        neutral = [scores for scores in base if OTHER_PROMPTS in scores]
        return Scale(
            untouched=_mean([scores[FIDELITY[self.learned]] for scores in base if FIDELITY[self.learned] in scores]),
            real=_mean([found.among_themselves for found in self.references.values()]),
            ignored=_mean([scores[OTHER_PROMPTS] for scores in neutral]),
            followed=_mean([scores[PROMPT] for scores in neutral]),
        )

    def _counted(self, name: str, values: Values) -> list[float]:
        """The values that make up a score: of prompt fidelity, those of the prompts that ask for the concept; of
        diversity, one for each prompt."""
        if name == DIVERSITY:
            return by_prompt(self.probes, values)
        pairs = zip(self.probes, values, strict=True)
        return [v for probe, v in pairs if v is not None and (name != PROMPT or not probe.is_neutral)]

    def _reading(self, step: int, scores: Sequence[Mapping[str, float]]) -> Reading:
        own = [found for probe, found in zip(self.probes, scores, strict=True) if not probe.is_neutral]
        return Reading(
            step,
            like=tuple(found.get(FIDELITY[self.learned]) for found in own),
            prompt=tuple(found[PROMPT] for found in own),
            diversity=tuple(by_prompt(self.probes, [found.get(DIVERSITY) for found in scores])),
            drift=tuple(found[DRIFT] for found in scores if DRIFT in found),
        )


def asked_in(config: RunConfig, samples: Sequence[Sample]) -> tuple[Asked | None, list[str]]:
    """What will be scored in a run, and warnings about it; None where nothing is: it is off, or no network can read.

    Reads neither the base nor any network. Raises ConfigError, ModelError or MissingDependencyError for prompts that
    ask for nothing that is learned, and for networks that are not there or that know other pictures.
    """
    section = config.evaluation
    is_world = config.model.base in EMBEDDED
    if section.every == 0 or not (is_world or section.networks):
        return None, []
    wordings = wordings_of(config, samples)
    check_scorers(config, wordings)
    if not wordings:
        return None, [
            "The captions have no words in common that could stand for what is learned, so no pictures are scored. Set "
            "data.trigger, or turn scores off: evaluation.every = 0."
        ]
    warnings = [
        f'The class of "{named.phrase}" is not known: scorers read "{named.noun}". Name it: evaluation.class_noun.'
        for named in wordings.values()
        if not named.is_class_known and named.learned != "style"
    ]
    chosen = probes(wordings, section.prompts, num=section.num, seed=section.seed, is_world=is_world)
    reader = "judge" if section.networks is None else section.networks.image
    warnings += [f"Scores of prompts: {told}." for told in told_unknown(reader, [probe.text for probe in chosen])]
    requests = [
        Request(prompt=probe.prompt, seed=probe.seed, steps=section.steps, guidance=section.guidance)
        for probe in chosen
    ]
    return Asked(chosen, requests, wordings), warnings


def open_scoring(config: RunConfig, asked: Asked, samples: Sequence[Sample]) -> Scoring:
    """What was asked for, with the networks that score it and what they see in the training pictures.

    Raises DataError or ModelError for pictures or networks that cannot be used.
    """
    section = config.evaluation
    assert section.every != "auto"  # resolved
    learned = next(iter(asked.wordings.values())).learned
    networks = judge_networks() if section.networks is None else open_networks(section.networks)
    is_diverse = config.model.base in EMBEDDED or _names_own(section.networks, "perceptual")
    references = {number: likeness(networks, learned, list(_pictures(samples, number))) for number in asked.wordings}
    return Scoring(asked.probes, asked.requests, networks, references, learned, section.every, is_diverse)


def check_scorers(config: RunConfig, wordings: Mapping[int, Wording]) -> None:
    """Raise where the networks are not there, or the embedded judge would score what is not of its world."""
    networks = config.evaluation.networks
    if networks is None:
        return
    check_networks(networks)
    if config.model.base in EMBEDDED:
        return
    needed = ["image", *(LIKENESS[named.learned] for named in list(wordings.values())[:1])]
    if missing := [role for role in needed if not _names_own(networks, role)]:
        raise ConfigError(
            f"evaluation.networks names no network for: {', '.join(missing)}. The embedded judge, their default, knows "
            f"the embedded world alone, not pictures of {Path(config.model.base).name}. Name a network for each of "
            "them, or turn scores off: evaluation.every = 0."
        )


def _names_own(networks: NetworksConfig | None, role: str) -> bool:
    return networks is not None and getattr(networks, role) not in JUDGES


def wordings_of(config: RunConfig, samples: Sequence[Sample]) -> dict[int, Wording]:
    """How each concept is called by its captions, where they agree on something; all are compared by the same thing."""
    section, classes = config.evaluation, config.class_images
    places = config.concepts or (config.data,)
    prompts = [concept.class_prompt for concept in config.concepts] or [classes.prompt if classes else None]
    found: dict[int, Wording] = {}
    for number, (place, class_prompt) in enumerate(zip(places, prompts, strict=True)):
        if isinstance(place, ConceptConfig) and place.virtual:
            continue
        captions = [sample.caption for sample in samples if sample.concept == number and not sample.is_class]
        named = wording_in(
            captions,
            trigger=place.trigger,
            noun=section.class_noun,
            class_prompt=class_prompt,
            learns=section.learns,
        )
        if named is not None:
            found[number] = named
    if len({named.learned for named in found.values()}) > 1:
        return {number: replace(named, learned="subject") for number, named in found.items()}
    return found


def untouched(run: RunDir, count: int) -> Pictures:
    """The pictures of the base, as they were scored before the first step.

    Raises CheckpointError where one of them is gone.
    """
    paths = [run.scored_picture(0, i) for i in range(count)]
    if gone := [path.name for path in paths if not path.is_file()]:
        raise CheckpointError(
            f"{run.scored}: the base's pictures, which scores are compared with, are gone: {', '.join(gone)}. Put them "
            "back, or go on without scores: --set evaluation.every=0."
        )
    return [_read(path) for path in paths]


def _pictures(samples: Sequence[Sample], concept: int) -> Iterator[Pictures]:
    """The training pictures of a concept, one at a time: each may be a large photograph."""
    own = [sample for sample in samples if sample.concept == concept and not sample.is_class]
    for i in range(0, len(own), -(-len(own) // REFERENCES)):
        yield [_tensor(decode(own[i].read(), own[i].name).rgb)]


def _read(path: Path) -> Picture:
    with Image.open(path) as image:
        return _tensor(image.convert("RGB"))


def _tensor(image: Image.Image) -> Picture:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _mean(values: Sequence[float]) -> float:
    """0 where there is nothing to average: no picture of the base shows a face."""
    return fmean(values) if values else 0.0


def _summary(step: int, name: str, values: Sequence[float], network: str) -> Scored:
    low, high = mean_interval(values) if len(values) > 1 else (math.nan, math.nan)
    return Scored(step, name, fmean(values), low, high, network)
