"""What is written about a picture: the trigger put in, tags shuffled, captions dropped. Pure functions."""

import re
from random import Random

PLACEHOLDER = "[trigger]"
"""Where a caption or prompt names what is learned without saying how it is called."""


def has_words(text: str, words: str) -> bool:
    """Whether ``words`` stand in ``text`` as whole words, in capitals or not: CLIP does not tell them apart."""
    return _whole(words).search(text) is not None


def _whole(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)


def expand(caption: str, trigger: str) -> str:
    """The caption with the trigger wherever it says "[trigger]"."""
    return caption.replace(PLACEHOLDER, trigger)


def in_front(caption: str, trigger: str) -> str:
    """The caption with the trigger as its first tag; an empty caption stays empty, since it means no words at all."""
    return f"{trigger}, {caption}" if caption else caption


def as_class(caption: str, trigger: str | None, class_prompt: str) -> str:
    """The caption with the class in place of the trigger; all of it where there is no trigger, unless it is empty."""
    if not caption:
        return caption
    if trigger is None or not has_words(caption, trigger):
        return class_prompt
    return _whole(trigger).sub(lambda _: class_prompt, caption)


def drawn(caption: str, rng: Random, *, dropout: float = 0.0, shuffle: bool = False, keep_tokens: int = 0) -> str:
    """The caption of one draw: empty with probability ``dropout``, its tags after the first ``keep_tokens`` shuffled.

    Tags are what stands between commas.
    """
    if rng.random() < dropout:
        return ""
    if not shuffle:
        return caption
    tags = [tag for tag in (part.strip() for part in caption.split(",")) if tag]
    rest = tags[keep_tokens:]
    rng.shuffle(rest)
    return ", ".join(tags[:keep_tokens] + rest)
