"""What a learned thing is called in prompts, and what its class is called in words that every network knows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from maquette.config.suite import CLASS, SUBJECT

_MEDIUM = re.compile(
    r"^(?:(?:an?|the)\s+)?(?:(?:[\w-]+\s+)?(?:photo|photograph|picture|image|portrait|painting|drawing|render)s?\s+of\s+)?"
    r"(?:(?:an?|the|in|by|with|of)\s+)*",
    re.IGNORECASE,
)
_LOOSE = frozenset({"a", "an", "the", "in", "on", "at", "of", "with", "and", "by"})
"""Words with which a name does not end."""


@dataclass(frozen=True, slots=True)
class Wording:
    """phrase: what was learned, as prompts call it ("sks dog"). noun: its class ("dog").

    The base knows no phrase: for it, both are the noun.
    """

    phrase: str
    noun: str

    def asked(self, text: str) -> str:
        """A suite's text as a prompt."""
        return text.replace(SUBJECT, self.phrase).replace(CLASS, self.noun)

    def scored(self, text: str) -> str:
        """A suite's text in words that every network knows."""
        return text.replace(SUBJECT, self.noun).replace(CLASS, self.noun)

    def without_phrase(self, prompt: str) -> str:
        """A finished prompt with the class in the place of what was learned ("sks dog", or "sks" before it)."""
        if not self.phrase or self.phrase == self.noun:
            return prompt
        called = rf"\b{re.escape(self.phrase)}(?: {re.escape(self.noun)})?\b"
        return re.sub(called, self.noun, prompt, flags=re.IGNORECASE)


def phrase_in(captions: Sequence[str]) -> str:
    """What captions have in common: their longest common run of words, without "a photo of" before it; "" for nothing.

    "a photo of sks mug in the snow" and "a photo of sks mug at sea" agree on "sks mug"; what stands in every caption
    is what the pictures share.
    """
    words = [caption.replace(",", " ").split() for caption in dict.fromkeys(captions)]
    if not words:
        return ""
    runs = sorted(_common_runs(words), key=len, reverse=True)  # of names of one length, that of the longest run
    return max(map(_name, runs), key=lambda name: len(name.split()), default="")


def _name(run: Sequence[str]) -> str:
    """A run of words without what leads to a name, and without what does not end one."""
    name = _MEDIUM.sub("", " ".join(run)).split()
    while name and name[-1].lower() in _LOOSE:
        name.pop()
    return " ".join(name)


def noun_of(phrase: str) -> str | None:
    """The class that a phrase of several words ends with: "sks dog" is a dog; None where it is one word alone."""
    words = phrase.split()
    return words[-1] if len(words) > 1 else None


def _common_runs(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """Every run of words of the shortest caption that all the others have too."""
    shortest = list(min(captions, key=len))
    spaced = [f" {' '.join(words)} " for words in captions]
    runs = [shortest[i:j] for i in range(len(shortest)) for j in range(i + 1, len(shortest) + 1)]
    return [run for run in runs if all(f" {' '.join(run)} " in text for text in spaced)]
