"""What a picture is said to show when it is drawn: its caption with what chance does to it, and its class's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from maquette.config.data import CaptionConfig
from maquette.config.schema import RunConfig
from maquette.data.caption import as_class, drawn, with_tag
from maquette.data.sample import Sample


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of samples, by their index.

    classes: each concept's trigger and the class to put in its place, for output preservation; none without it.
    """

    samples: Sequence[Sample]
    how: CaptionConfig
    classes: Sequence[tuple[str | None, str]] = ()

    def drawn(self, index: int, rng: Random, *, flip: bool) -> str:
        """A subject's caption as it is drawn; class images keep theirs, which is what they are there to preserve.

        flip: whether the picture is shown mirrored.
        """
        sample = self.samples[index]
        if sample.is_class:
            return sample.caption
        return drawn(
            sample.tagged or sample.caption,
            rng,
            dropout=self.how.dropout,
            shuffle=self.how.shuffle,
            keep_tokens=self.how.keep_tokens,
            extra=self.how.flip_tag if flip else None,
        )

    def of_classes(self, indices: Sequence[int], texts: Sequence[str]) -> list[str]:
        """These texts of pictures with the class in the place of the trigger."""
        return [as_class(t, *self.classes[self.samples[i].concept]) for i, t in zip(indices, texts, strict=True)]

    def all(self) -> list[str]:
        """Every text that can be drawn, if tags are not shuffled."""
        dropped = [""] if self.how.dropout > 0 else []
        texts = [text for i in range(len(self.samples)) for text in self._of(i)]
        owners = [i for i in range(len(self.samples)) for _ in self._of(i)]
        classes = self.of_classes(owners, texts) if self.classes else []
        return list(dict.fromkeys([*dropped, *texts, *classes]))

    def _of(self, index: int) -> list[str]:
        """The captions of one picture: as it is, and mirrored where that has a tag of its own."""
        sample, flip_tag = self.samples[index], self.how.flip_tag
        if flip_tag is None or sample.is_class:
            return [sample.caption]
        mirrored = sample.tagged.text(extra=flip_tag) if sample.tagged else with_tag(sample.caption, flip_tag)
        return [sample.caption, mirrored]


def classes_of(config: RunConfig) -> list[tuple[str | None, str]]:
    """The trigger and the class of each concept, for output preservation; none without it."""
    if config.preservation is None:
        return []
    named = [(concept.trigger, concept.class_prompt) for concept in config.concepts]
    named = named or [(config.data.trigger, config.preservation.class_prompt)]
    return [(trigger, prompt) for trigger, prompt in named if prompt is not None]
