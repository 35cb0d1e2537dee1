"""Words in prompts and captions: whether they stand there, and what placeholders are replaced by. Pure text."""

import re
from collections.abc import Iterable, Mapping, Sequence

from maquette.config.adapter import TokensConfig

TRIGGER = "[trigger]"
"""Where a caption or prompt names what is learned without saying how it is called."""


def expand(text: str, trigger: str) -> str:
    """The text with the trigger wherever it says "[trigger]"."""
    return text.replace(TRIGGER, trigger)


def has_words(text: str, words: str) -> bool:
    """Whether ``words`` stand in ``text`` as whole words, in capitals or not: CLIP does not tell them apart."""
    return whole(words).search(text) is not None


def whole(words: str) -> re.Pattern[str]:
    """What finds these words as whole ones, in capitals or not."""
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)


def token_map(config: TokensConfig) -> dict[str, list[str]]:
    """The new tokens of each placeholder, numbered over all of them: {"TOK": ["<s0>", "<s1>"]}."""
    return numbered(config.placeholders)


def numbered(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """So many new tokens for each placeholder, numbered on from one to the next."""
    firsts = [sum(list(counts.values())[:i]) for i in range(len(counts))]
    return {
        name: [f"<s{first + i}>" for i in range(count)]
        for first, (name, count) in zip(firsts, counts.items(), strict=True)
    }


def written_out(text: str, words: Mapping[str, Sequence[str]]) -> str:
    """The text with each placeholder as its tokens, without spaces between them."""
    if not words:
        return text
    return _pattern(words).sub(lambda found: "".join(words[found[0]]), text)


def names_in(text: str, names: Iterable[str]) -> list[str]:
    """The placeholders that a text says, in the order of their first places."""
    names = list(names)
    return list(dict.fromkeys(_pattern(names).findall(text))) if names else []


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Any of the names as a word of its own, in these very capitals; the longest first, so that TOK2 is not TOK."""
    ordered = sorted(names, key=len, reverse=True)
    return re.compile("|".join(f"{_edge(name[0], '<')}{re.escape(name)}{_edge(name[-1], '')}" for name in ordered))


def _edge(character: str, behind: str) -> str:
    """That no letter, digit or "_" goes on beside a name that begins or ends with one."""
    return rf"(?{behind}!\w)" if re.match(r"\w", character) else ""
