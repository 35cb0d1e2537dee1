"""How captions call what a run learns ("sks mug"), and what it is in common words ("mug"): pure functions of text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from maquette.evaluation.wording import noun_of, phrase_in
from maquette.runs.names import Learned

PEOPLE: Final = frozenset({"man", "woman", "person", "boy", "girl", "guy", "lady", "child", "face", "people"})

UNKNOWN: Final = "object"
"""The noun of something whose class nobody has named."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What stands for one concept in prompts.

    phrase: as it is trained: "sks mug"; of a style, "sks style". noun: its class in common words, "mug"; of a style "".
    is_class_known: somebody said the noun.
    """

    phrase: str
    noun: str
    learned: Learned
    is_class_known: bool = True

    def text_of(self, prompt: str) -> str:
        """What a network that never heard of the concept should read: its class instead of its name; no style."""
        called = re.escape(self.phrase)
        if self.learned == "style":
            led = r"[\s,]*(?:\b(?:in|of|with|by)\s+)?(?:\b(?:a|the)\s+)?"
            return re.sub(rf"{led}(?<!\w){called}(?!\w)", "", prompt, flags=re.IGNORECASE).strip(" ,")
        named = rf"(?:\b(?:an?|the)\s+)?(?<!\w){called}(?!\w)"
        return re.sub(named, with_article(self.noun), prompt, flags=re.IGNORECASE)

    def is_in(self, prompt: str) -> bool:
        """Whether a prompt asks for the concept."""
        return self.text_of(prompt) != prompt


def naming(
    captions: Sequence[str],
    *,
    trigger: str | None = None,
    noun: str | None = None,
    class_prompt: str | None = None,
    learns: Literal["auto"] | Learned = "auto",
) -> Naming | None:
    """What captions have in common, read as the name of one concept; None where they share no words.

    trigger: words that are known to stand for it. noun: its class, if somebody said so; else it is what
    ``class_prompt`` shows, else the last word of a name of several: "mug" of "sks mug".
    """
    phrase = phrase_in(captions)
    if trigger and f" {trigger.lower()} " not in f" {phrase.lower()} ":
        phrase = trigger
    if not phrase:
        return None
    if learns == "style" or (learns == "auto" and re.search(r"\bstyle\b", phrase, re.IGNORECASE)):
        return Naming(phrase, "", "style")
    said = noun or phrase_in([class_prompt or ""]) or noun_of(phrase)
    learned: Learned = learns if learns != "auto" else "face" if PEOPLE & {*(said or "").lower().split()} else "subject"
    return Naming(phrase, said or ("person" if learned == "face" else UNKNOWN), learned, is_class_known=bool(said))


def with_article(noun: str) -> str:
    """The noun phrase with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
