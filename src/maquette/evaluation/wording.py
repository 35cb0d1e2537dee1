"""What a learned thing is called in prompts, and what its class is called in words that every network knows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from maquette.config.suite import CLASS, SUBJECT
from maquette.runs.names import Learned

_MEDIUM = re.compile(
    r"^(?:(?:an?|the)\s+)?(?:(?:[\w-]+\s+)?(?:photo|photograph|picture|image|portrait|painting|drawing|render)s?\s+of\s+)?"
    r"(?:(?:an?|the|in|by|with|of)\s+)*",
    re.IGNORECASE,
)
_LOOSE = frozenset({"a", "an", "the", "in", "on", "at", "of", "with", "and", "by"})
"""Words with which a name does not end."""


PEOPLE: Final = frozenset({"man", "woman", "person", "boy", "girl", "guy", "lady", "child", "face", "people"})

UNKNOWN: Final = "object"
"""The noun of something whose class nobody has named."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands for one concept in prompts.

    phrase: what was learned, as prompts call it ("sks dog"; of a style, "sks style"). noun: its class in common words
    ("dog"); "" for a style, and where nobody knows it. is_class_known: somebody said the noun.

    The base knows no phrase: for it, both are the noun.
    """

    phrase: str
    noun: str
    learned: Learned = "subject"
    is_class_known: bool = True

    def asked(self, text: str) -> str:
        """A suite's text as a prompt."""
        return text.replace(SUBJECT, self.phrase).replace(CLASS, self.noun)

    def scored(self, text: str) -> str:
        """A suite's text in words that every network knows."""
        return text.replace(SUBJECT, self.noun).replace(CLASS, self.noun)

    def text_of(self, prompt: str) -> str:
        """A finished prompt in words that every network knows: the class in place of the name, or nothing without one.

        A trigger alone stands before its class as well: both "sks" and "sks dog" become "a dog".
        """
        if not self.phrase or self.phrase == self.noun:
            return prompt
        called = re.escape(self.phrase)
        if not self.noun:
            led = r"[\s,]*(?:\b(?:in|of|with|by)\s+)?(?:\b(?:a|the)\s+)?"
            return re.sub(rf"{led}(?<!\w){called}(?!\w)", "", prompt, flags=re.IGNORECASE).strip(" ,")
        named = rf"(?:\b(?:an?|the)\s+)?(?<!\w){called}(?:\s+{re.escape(self.noun)})?(?!\w)"
        return re.sub(named, with_article(self.noun), prompt, flags=re.IGNORECASE)

    def is_in(self, prompt: str) -> bool:
        """Whether a prompt asks for the concept."""
        return self.text_of(prompt) != prompt


def wording_in(
    captions: Sequence[str],
    *,
    trigger: str | None = None,
    noun: str | None = None,
    class_prompt: str | None = None,
    learns: Literal["auto"] | Learned = "auto",
) -> Wording | None:
    """What captions have in common, read as the name of one concept; None where they share no words.

    trigger: words that are known to stand for it. noun: its class, if somebody said so; else it is what
    ``class_prompt`` shows, else the last word of a name of several: "mug" of "sks mug".
    """
    phrase = phrase_of(captions, trigger)
    if not phrase:
        return None
    if learns == "style" or (learns == "auto" and re.search(r"\bstyle\b", phrase, re.IGNORECASE)):
        return Wording(phrase, "", "style")
    said = noun or phrase_in([class_prompt or ""]) or noun_of(phrase)
    learned: Learned = learns if learns != "auto" else "face" if PEOPLE & {*(said or "").lower().split()} else "subject"
    return Wording(phrase, said or ("person" if learned == "face" else UNKNOWN), learned, is_class_known=bool(said))


def phrase_of(captions: Sequence[str], trigger: str | None) -> str:
    """What captions call a concept: what they have in common; or its trigger, where that is something else."""
    phrase = phrase_in(captions)
    if trigger and f" {trigger.lower()} " not in f" {phrase.lower()} ":
        return trigger
    return phrase


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


def with_article(noun: str) -> str:
    """The noun phrase with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _common_runs(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """Every run of words of the shortest caption that all the others have too."""
    shortest = list(min(captions, key=len))
    spaced = [f" {' '.join(words)} " for words in captions]
    runs = [shortest[i:j] for i in range(len(shortest)) for j in range(i + 1, len(shortest) + 1)]
    return [run for run in runs if all(f" {' '.join(run)} " in text for text in spaced)]
