"""From a suite and what was learned to the pictures that are asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maquette.config.suite import PromptConfig, SuiteConfig
from maquette.errors import ConfigError
from maquette.evaluation.dreambooth import Lists
from maquette.evaluation.learned import Concept
from maquette.evaluation.wording import Wording
from maquette.generation.sample import Request


@dataclass(frozen=True, slots=True)
class Wish:
    """A picture of the subject that is asked for. text: the suite's own words. scored: as text networks read it."""

    concept: str
    text: str
    scored: str
    request: Request


@dataclass(frozen=True, slots=True)
class Wishes:
    """Everything that one target is asked for.

    classes: other members of each concept's class. neutral: pictures that show no concept, for target and base alike.
    """

    subjects: tuple[Wish, ...]
    classes: Mapping[str, tuple[Request, ...]]
    neutral: tuple[Request, ...]

    @property
    def requests(self) -> list[Request]:
        """All of it, each picture once."""
        others = [request for requests in self.classes.values() for request in requests]
        return list(dict.fromkeys([*(wish.request for wish in self.subjects), *others, *self.neutral]))


def prompts_for(suite: SuiteConfig, concept: Concept, lists: Lists | None) -> list[PromptConfig]:
    """The prompts that a concept is asked with: those that training did not show.

    Raises ConfigError where none is left.
    """
    listed = lists.prompts(concept.name) if lists is not None else ()
    prompts = [*listed, *suite.prompts]
    shown = _words(" ".join(concept.captions))
    kept = [prompt for prompt in prompts if not any(f" {' '.join(_split(w))} " in shown for w in prompt.unless_shown)]
    if not any(prompt.shows == "subject" for prompt in kept):
        raise ConfigError(
            f"Every prompt of the suite is left out: training showed {concept.name} in all of these places already "
            "(unless_shown). Write a suite with prompts of your own, and name its file with --suite."
        )
    return kept


def wishes_of(
    suite: SuiteConfig, concepts: Sequence[tuple[Concept, Wording]], lists: Lists | None, *, is_base: bool
) -> Wishes:
    """What one target is asked for; the base is asked in the words that everybody knows."""
    subjects, neutral = [], []
    classes: dict[str, tuple[Request, ...]] = {}
    for concept, wording in concepts:
        prompts = prompts_for(suite, concept, lists)
        for prompt in prompts:
            scored = wording.scored(prompt.scored or prompt.text)
            asked = scored if is_base else wording.asked(prompt.text)
            requests = _requests(suite, asked)
            if prompt.shows == "subject":
                subjects += [Wish(concept.name, prompt.text, scored, request) for request in requests]
            elif prompt.shows == "class":
                classes[concept.name] = (*classes.get(concept.name, ()), *requests)
            else:
                neutral += requests
    return Wishes(tuple(subjects), classes, tuple(dict.fromkeys(neutral)))


def _requests(suite: SuiteConfig, prompt: str) -> list[Request]:
    sampling = suite.sampling
    return [
        Request(
            prompt=prompt,
            seed=suite.seed + i,
            negative=sampling.negative,
            steps=sampling.steps,
            guidance=sampling.guidance,
            scheduler=sampling.scheduler,
            size=sampling.size,
        )
        for i in range(suite.num)
    ]


def _words(text: str) -> str:
    return f" {' '.join(_split(text))} "


def _split(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
