"""The embedded model's tokenizer: byte-level BPE in CLIP's file format, each word of the world one token."""

import itertools
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import CLIPTokenizer

from maquette.embedded.captions import MEDIA, caption
from maquette.embedded.keys import rng_for
from maquette.embedded.scene import scene_at
from maquette.embedded.vocabulary import HELD_OUT_KINDS
from maquette.errors import ModelError

MAX_LENGTH = 77
"""Tokens of a prompt, with start and end, as in Stable Diffusion."""

SCENES = 20_000
"""Of so many scenes, captions are read: enough that every word of the world comes."""

START, END = "<|startoftext|>", "<|endoftext|>"


def new_tokenizer() -> CLIPTokenizer:
    """A tokenizer that writes every word of the world's captions as one token, and any other text as smaller pieces.

    Merges are learned as in Sennrich et al. 2016 (arXiv 1508.07909), algorithm 1, until each word is one piece.
    """
    words = caption_words()
    pieces, merges = learn_merges(words)
    alphabet = [*_byte_letters(), *(f"{letter}</w>" for letter in _byte_letters())]
    vocabulary = list(dict.fromkeys([*alphabet, *pieces, START, END]))
    with TemporaryDirectory() as folder:
        vocab, rules = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocab.write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}), encoding="utf-8")
        rules.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n", encoding="utf-8")
        tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_LENGTH)
    if broken := [word for word in words if len(tokenizer(word)["input_ids"]) != 3]:
        raise ModelError(f"words that are not one token: {', '.join(broken)}. The merges do not fit the vocabulary.")
    return tokenizer


def caption_words() -> list[str]:
    """Every word that captions use, and the names of held-out kinds and styles, in alphabetical order."""
    texts = [caption(scene_at(key, "train"), rng_for("words", key)) for key in range(SCENES)]
    texts += [*HELD_OUT_KINDS, *(phrase for phrases in MEDIA.values() for phrase in phrases)]
    return sorted({word for text in texts for word in re.findall("[a-z]+", text.lower())})


def learn_merges(vocabulary: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Pieces and merges, most frequent pair first and ties in alphabetical order, so that they are always the same."""
    split = {word: [*word[:-1], f"{word[-1]}</w>"] for word in vocabulary}
    merges: list[tuple[str, str]] = []
    while True:
        counts: dict[tuple[str, str], int] = {}
        for pieces in split.values():
            for pair in itertools.pairwise(pieces):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            return [left + right for left, right in merges], merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = {word: _merged(pieces, best) for word, pieces in split.items()}


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in GPT-2's byte-level BPE: printable bytes stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [256 + i for i in range(256 - len(printable))]
    return [chr(code) for code in [*printable, *others]]
