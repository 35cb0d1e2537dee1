"""What there is to tell about a run, gathered once: the page and the model card only say it in different forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maquette.config.bank import asked_for, file_name_of
from maquette.config.schema import RunConfig
from maquette.config.words import expand, token_map
from maquette.report.base import Base
from maquette.report.charts import Series
from maquette.report.exports import Export
from maquette.report.pictures import Thumbnail
from maquette.report.usage import Subject
from maquette.runs.best import Best
from maquette.runs.events import Group
from maquette.runs.scores import StrengthRange


@dataclass(frozen=True, slots=True)
class Preview:
    """One picture made along the way."""

    step: int
    prompt: str
    seed: int
    file: Path
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A run as far as it has come.

    steps_done of steps: optimizer steps. is_finished: the run came to its end. sittings: the steps at which it was
    started and resumed. seconds: of the whole run, over all sittings. step_seconds: of that, spent on steps. rates: the
    learning rate of each group of parameters, over the steps. groups: these groups. scores: every measured number over
    the steps, the validation loss among them. networks: what read the pictures, by score. best: the checkpoint that was
    chosen. warnings: what the run warned of, with the step. problems: what of the run's folder could not be read for
    the report. strength: the strengths that a sweep recommends, if one was made. start: of each layer that did not
    start at random, the share of what it started from that its start holds. Texts that come from the run hold no
    absolute paths any more.
    """

    name: str
    config: RunConfig
    base: Base
    steps_done: int
    steps: int
    is_finished: bool
    sittings: Sequence[int]
    seconds: float
    step_seconds: float
    images_seen: int
    peak_memory: int | None
    loss: Series
    grad_norm: Series
    scores: Sequence[Series]
    networks: Mapping[str, str]
    best: Best | None
    rates: Sequence[Series]
    groups: Sequence[Group]
    previews: Sequence[Preview]
    pictures: Sequence[Thumbnail]
    exports: Sequence[Export]
    warnings: Sequence[tuple[int, str]]
    problems: Sequence[str]
    versions: Mapping[str, str]
    strength: StrengthRange | None = None
    start: Sequence[float] = ()

    @property
    def triggers(self) -> list[str]:
        """The words that call what was learned: placeholders of new tokens, and one for each concept that has some."""
        given = [trigger for trigger in _of_concepts(self.config, "trigger") if trigger]
        return list(dict.fromkeys([*self.tokens, *given]))

    @property
    def tokens(self) -> Mapping[str, Sequence[str]]:
        """The new tokens that each placeholder stands for."""
        return {} if self.config.tokens is None else token_map(self.config.tokens)

    @property
    def prompts(self) -> list[str]:
        """The instance prompts, with the trigger in its place."""
        pairs = zip(_of_concepts(self.config, "prompt"), _of_concepts(self.config, "trigger"), strict=True)
        return [expand(prompt, trigger or "") for prompt, trigger in pairs if prompt]

    @property
    def words(self) -> list[str]:
        """What to write in a prompt: the triggers; without any, the instance prompts.

        None of a decoder, which has a prior beside it: it is told no words, and learns none.
        """
        return [] if self.config.model.prior is not None else self.triggers or self.prompts

    @property
    def example(self) -> str:
        """A prompt that shows what was learned: the first preview's, the training prompt, or a caption."""
        candidates = [*self.config.preview.prompts, *(p.prompt for p in self.previews if p.prompt), *self.prompts]
        captions = [picture.caption for picture in self.pictures]
        return next(iter([*candidates, *captions[: bool(self.tokens)], *self.triggers, *captions]), "")

    @property
    def strength_words(self) -> str:
        """How strongly to wear the adapter: what a sweep has found, or else what is usual."""
        if self.strength is None:
            return "1 is as it was trained; 0.6 to 0.9 leaves more to the base."
        low, high = self.strength.low, self.strength.high
        measured = f"{low:g} to {high:g}" if low < high else f"{low:g}"
        return f"{measured}, as measured. {self.strength.words} 1 is as it was trained."

    @property
    def subject(self) -> Subject:
        """What the instructions for other tools need: of a bank, with the files of the concept in the example alone."""
        concept = self._called
        folders = {export.folder for export in self.exports if concept is not None}
        own = {folder for folder in folders if folder.rpartition("/")[2] == concept}
        return Subject(
            run=self.name,
            base=self.base,
            example=self.example,
            exports=[export for export in self.exports if not own or export.folder in own],
            has_text=self.config.text_encoder.train != "none",
            tokens=self.tokens,
            concept=next(iter(own), ""),
            others=sorted(folders - own),
        )

    @property
    def _called(self) -> str | None:
        """Of a bank, what the files of the concept in the example are named for; None where there is one adapter."""
        concept = asked_for(self.config, self.example) if self.config.is_bank else None
        return None if concept is None else file_name_of(self.config.concepts[concept].trigger or "")


def _of_concepts(config: RunConfig, name: str) -> list[str | None]:
    called = [concept for concept in config.concepts if not concept.virtual]
    return [getattr(source, name) for source in (called or (config.data,))]
