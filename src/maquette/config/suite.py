"""The schema of a suite: which pictures are asked for, and by which metrics they are scored."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from maquette.config.checks import Contradictions, Problem
from maquette.config.running import Sampler
from maquette.config.section import Count, Section, Text, Texts, Whole

SUBJECT, CLASS = "[subject]", "[class]"
"""What stands in prompts for what was learned ("sks dog"), and for the common noun of its class ("dog")."""


class PromptConfig(Section):
    """One prompt of a suite."""

    text: Text
    """What is asked for, with "[subject]" for what was learned ("sks dog") and "[class]" for its noun ("dog")."""
    scored: Text | None = None
    """What text metrics compare the picture with, and what the base is asked for, as it does not know the subject.
    Unset: the text with the class for the subject."""
    shows: Literal["subject", "class", "neutral"] = "subject"
    """"class": other members of the class, on which preservation is measured; "neutral": anything else, on which drift
    from the base is measured. All other metrics look at pictures of the subject alone."""
    unless_shown: Texts = ()
    """Leave this prompt out where a training caption has one of these words: what was shown proves nothing."""


class SamplingConfig(Section):
    """How the pictures are made, with the meanings of `maquette generate`."""

    steps: Count = 25
    """Sampling steps. Source: `maquette generate`."""
    guidance: Annotated[float, Field(ge=1)] | None = None
    """How strongly the prompt is followed; 1 is off. Unset: as in `maquette generate`."""
    negative: str = ""
    """What the pictures should not show."""
    scheduler: Sampler | None = None
    """The sampler. Unset: the base's default."""
    size: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    """[height, width] in pixels. Unset: as the base was trained."""


class ContestConfig(Section):
    """The total score of the Jittor style contest; the metrics it is made of are measured as well."""

    mode: Literal["official", "fixed"] = "fixed"
    """"official" counts colours with the faults of the contest's scorer, to compare with published numbers; "fixed"
    mends them. Source: S0's contest."""


class SuiteConfig(Section):
    """A suite: prompts, seeds and metrics."""

    metrics: Texts = ()
    """Names of metrics, in the order in which they are shown."""
    prompts: Annotated[tuple[PromptConfig, ...], Field(strict=False)] = ()
    """The prompts, as [[prompts]]."""
    dataset: Literal["dreambooth"] | None = None
    """Take prompts and classes from a local copy of a published data set, beside the reference pictures."""
    noun: Text | None = None
    """The common noun of the class where neither --class nor the run tells it."""
    num: Count = 1
    """Pictures for each prompt, with consecutive seeds."""
    seed: Whole = 0
    """Seed of the first picture of each prompt."""
    sampling: SamplingConfig = SamplingConfig()
    contest: ContestConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := [Problem(path, message) for path, message in self._problems()]:
            raise Contradictions(problems)
        return self

    def _problems(self) -> Iterator[tuple[str, str]]:
        if not self.metrics and self.contest is None:
            yield "metrics", 'is empty: name at least one, such as metrics = ["subject_fidelity", "prompt_fidelity"].'
        if len(set(self.metrics)) < len(self.metrics):
            yield "metrics", f"names one twice: {', '.join(self.metrics)}."
        if self.dataset is None and not any(prompt.shows == "subject" for prompt in self.prompts):
            yield "prompts", 'is empty: add a table [[prompts]] with text = "a photo of [subject] on the beach".'
        texts = [prompt.text for prompt in self.prompts]
        if doubled := next((text for text in texts if texts.count(text) > 1), None):
            yield "prompts", f'has "{doubled}" twice; for more pictures of a prompt set num.'
        for i, prompt in enumerate(self.prompts):
            if prompt.shows != "subject" and SUBJECT in prompt.text:
                yield f"prompts.{i}.text", f'has {SUBJECT}, but shows = "{prompt.shows}"; write {CLASS} or other words.'
            if prompt.scored is not None and SUBJECT in prompt.scored:
                yield f"prompts.{i}.scored", f"has {SUBJECT}, a word that no scorer knows; write {CLASS}."
