"""Captions as the text encoder will see them: pieces, what is cut off, and where the trigger is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from transformers import CLIPTokenizer

from maquette.config.words import written_out


@dataclass(frozen=True, slots=True)
class Words:
    """One caption in pieces, "</w>" at the end of a word left out for a space.

    pictures: how many have it. kept: how many of the pieces are read; the others are cut off. trigger: numbers of the
    pieces that are the trigger's.
    """

    caption: str
    pictures: int
    pieces: tuple[str, ...]
    kept: int
    trigger: tuple[int, ...]

    @property
    def is_cut(self) -> bool:
        """Whether the encoder reads less than all of it."""
        return self.kept < len(self.pieces)


def words_of(
    tokenizer: CLIPTokenizer,
    captions: Iterable[tuple[str, str | None]],
    placeholders: Mapping[str, Sequence[str]] | None = None,
) -> list[Words]:
    """Each caption that there is, once.

    captions: of every picture, with the trigger of its concept. placeholders: words with the new tokens that they stand
    for, which count as a trigger's.
    """
    placeholders = placeholders or {}
    counts: dict[tuple[str, str | None], int] = {}
    for pair in captions:
        counts[pair] = counts.get(pair, 0) + 1
    room = tokenizer.model_max_length - 2  # behind the start and before the end
    found = []
    for (caption, trigger), times in counts.items():
        words = _words(tokenizer, written_out(caption, placeholders), trigger, times, room)
        new = {token for tokens in placeholders.values() for token in tokens}
        marked = {i for i, piece in enumerate(words.pieces) if piece.strip() in new}
        found.append(replace(words, caption=caption, trigger=tuple(sorted({*words.trigger, *marked}))))
    return found


def _words(tokenizer: CLIPTokenizer, caption: str, trigger: str | None, times: int, room: int) -> Words:
    ids = _ids(tokenizer, caption)
    pieces = tuple(str(piece).replace("</w>", " ") for piece in tokenizer.convert_ids_to_tokens(ids))
    found = _places(ids, _ids(tokenizer, trigger)) if trigger else ()
    return Words(caption, times, pieces, min(len(ids), room), found)


def _ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    return list(tokenizer([text], verbose=False, add_special_tokens=False)["input_ids"][0])


def _places(ids: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    starts = [i for i in range(len(ids) - len(wanted) + 1) if list(ids[i : i + len(wanted)]) == list(wanted)]
    return tuple(i + k for i in starts for k in range(len(wanted)))
