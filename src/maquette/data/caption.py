"""What is written about a picture: the trigger put in, tags shuffled, captions dropped. Pure functions."""

from dataclasses import dataclass
from random import Random

from maquette.config.words import has_words, whole


def in_front(caption: str, trigger: str) -> str:
    """The caption with the trigger as its first tag; an empty caption stays empty, since it means no words at all."""
    return f"{trigger}, {caption}" if caption else caption


def as_class(caption: str, trigger: str | None, class_prompt: str) -> str:
    """The caption with the class in place of the trigger; all of it where there is no trigger, unless it is empty."""
    if not caption:
        return caption
    if trigger is None or not has_words(caption, trigger):
        return class_prompt
    return whole(trigger).sub(lambda _: class_prompt, caption)


@dataclass(frozen=True, slots=True)
class Tagged:
    """A caption in two parts: what leads it in every draw (a trigger, a style), and the picture's own tags behind that.

    Both are tags with commas between them. Source: S0.
    """

    lead: str
    tags: str

    def text(self, rng: Random | None = None, extra: str | None = None) -> str:
        """The caption; ``rng`` draws the order of the tags behind the lead, ``extra`` is one tag more among them.

        Spaces and commas are tidied in the order in which S0 does it, in one pass each: a tag that is empty can still
        leave a comma at the end.
        """
        tags = self.tags if extra is None else f"{self.tags},{extra}"
        parts = tags.replace("  ", " ").split(",") if tags else []
        if rng is not None:
            rng.shuffle(parts)
        text = ",".join([self.lead, *parts])
        for untidy, tidy in (("  ", " "), (",,", ","), (", ", ",")):
            text = text.replace(untidy, tidy)
        return text


def with_tag(caption: str, tag: str) -> str:
    """The caption with one tag more at its end; an empty caption stays empty."""
    return f"{caption}, {tag}" if caption else caption


def drawn(
    caption: str | Tagged,
    rng: Random,
    *,
    dropout: float = 0.0,
    shuffle: bool = False,
    keep_tokens: int = 0,
    extra: str | None = None,
) -> str:
    """The caption of one draw: empty with probability ``dropout``, its tags shuffled but for those that lead it.

    keep_tokens: how many tags lead a caption that is plain text. extra: one tag more. Tags are what stands between
    commas.
    """
    if rng.random() < dropout:
        return ""
    if isinstance(caption, Tagged):
        return caption.text(rng if shuffle else None, extra)
    if extra is not None:
        caption = with_tag(caption, extra)
    if not shuffle:
        return caption
    tags = [tag for tag in (part.strip() for part in caption.split(",")) if tag]
    rest = tags[keep_tokens:]
    rng.shuffle(rest)
    return ", ".join(tags[:keep_tokens] + rest)
