"""Files of new tokens: written for diffusers, AUTOMATIC1111 and ComfyUI, read from there, and put into a family."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.adapters.about import ARCHITECTURES, About, hashes
from maquette.adapters.files import read_tensors, tensor_names, write_tensors
from maquette.config.words import numbered
from maquette.errors import CheckpointError
from maquette.families.base import Family
from maquette.families.vocabulary import table_of, with_tokens
from maquette.report.privacy import without_paths
from maquette.runs.files import write_text

F = TypeVar("F", bound=Family)

KEYS: Mapping[str, Mapping[str, str]] = {
    "sd_v1": {"text_encoder": "clip_l"},
    "sd_v2": {"text_encoder": "emb_params"},
    "sdxl_base_v1-0": {"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    "kandinsky22_prior": {"text_encoder": "emb_params"},
}
"""What files call the rows of each text encoder, by the version of the base that a ``Layout`` tells."""

ENCODERS = {
    "clip_l": "text_encoder",
    "clip_g": "text_encoder_2",
    "clip_h": "text_encoder",
    "emb_params": "text_encoder",
}
"""The text encoder that a name in a file means."""

SUFFIX = "_emb.safetensors"
"""The end of the name of a run's file of all its tokens."""

TOKEN_MAP = "maquette.tokens"
"""The metadata that says which tokens a placeholder stands for, as JSON."""

END_TOKEN = "maquette.end_token"
"""The metadata with the id of the end token: with new tokens, whose ids are higher, a text encoder must pool there."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What a file of new tokens holds.

    counts: placeholder -> number of its tokens, in the order of the rows. rows: by text encoder, in fp32.
    """

    counts: Mapping[str, int]
    rows: Mapping[str, Float[Tensor, "n d"]]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSet:
    """What is written: placeholder -> its tokens, and their rows by text encoder, in that order.

    version: of the base, as in ``Layout``. end_token: the id at which its text encoders pool.
    """

    words: Mapping[str, Sequence[str]]
    rows: Mapping[str, Float[Tensor, "n d"]]
    version: str
    end_token: int

    def tensors(self) -> dict[str, Tensor]:
        """The rows under their names in files, in fp32."""
        return {KEYS[self.version][module]: rows.detach().float().cpu() for module, rows in self.rows.items()}

    def only(self, placeholder: str) -> "TokenSet":
        """The tokens of one placeholder."""
        names = list(self.words)
        first = sum(len(self.words[name]) for name in names[: names.index(placeholder)])
        own = slice(first, first + len(self.words[placeholder]))
        rows = {module: rows[own] for module, rows in self.rows.items()}
        return TokenSet({placeholder: self.words[placeholder]}, rows, self.version, self.end_token)


def write_embeddings(folder: Path, tokens: TokenSet, about: About) -> list[Path]:
    """Write TITLE_emb.safetensors with every token, and what other tools want beside it.

    That is embeddings/PLACEHOLDER.safetensors for each placeholder, since user interfaces call an embedding by its
    file's name, and tokens.json, which says which tokens each placeholder stands for.
    """
    (folder / "embeddings").mkdir(exist_ok=True)
    files = {folder / f"{about.title}{SUFFIX}": tokens}
    files |= {folder / "embeddings" / f"{name}.safetensors": tokens.only(name) for name in tokens.words}
    for path, part in files.items():
        write_one(path, part, about)
    write_text(folder / "tokens.json", json.dumps(tokens.words, indent=2) + "\n")
    return list(files)


def write_one(path: Path, tokens: TokenSet, about: About) -> None:
    """Write one file and prove it: read back it must be the rows to the last bit.

    Raises CheckpointError where it is not, in which case no file is left.
    """
    tensors, metadata = tokens.tensors(), metadata_of(tokens, about)
    candidate = path.with_name(f".{path.stem}.unproven.safetensors")
    try:
        write_tensors(candidate, tensors, {"format": "pt", **metadata, **hashes(tensors, metadata)})
        read = read_embeddings(candidate)
        learned = {module: rows.detach().float().cpu() for module, rows in tokens.rows.items()}
        same = [torch.equal(read.rows[module], rows) for module, rows in learned.items() if module in read.rows]
        if not all(same) or read.rows.keys() != learned.keys():
            raise CheckpointError(f"{path.name}: the file does not hold what was learned. Nothing was exported.")
        candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)


def metadata_of(tokens: TokenSet, about: About) -> dict[str, str]:
    """What the file says of itself."""
    said = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{ARCHITECTURES[tokens.version]}/textual-inversion",
        "modelspec.implementation": "diffusers",
        "modelspec.title": about.title,
        "modelspec.date": about.date,
        "modelspec.trigger_phrase": " ".join(tokens.words),
        "ss_base_model_version": tokens.version,
        "ss_output_name": about.title,
        "maquette.dialect": "embedding",
        TOKEN_MAP: json.dumps(tokens.words),
        END_TOKEN: str(tokens.end_token),
    }
    return {key: without_paths(value) for key, value in said.items() if value is not None}


def is_embedding(path: Path) -> bool:
    """Whether a file holds rows for new tokens: under the names of text encoders, or one tensor under a token's."""
    names = set(tensor_names(path))
    return bool(names) and (names <= ENCODERS.keys() or (len(names) == 1 and not any("." in name for name in names)))


def read_embeddings(path: Path) -> Embeddings:
    """The rows in a file of ours, of kohya's, diffusers' or OneTrainer's.

    Without a map of tokens the word is the file's name, as user interfaces have it, or the name of its only tensor, as
    diffusers has it. Raises CheckpointError for a file that holds anything else.
    """
    tensors, metadata = read_tensors(path)
    named = path.stem
    if len(tensors) == 1 and not tensors.keys() <= ENCODERS.keys():
        named, tensor = next(iter(tensors.items()))
        tensors = {"emb_params": tensor}
    rows = {
        ENCODERS.get(key, key): (tensor[None] if tensor.ndim == 1 else tensor).float()
        for key, tensor in tensors.items()
    }
    lengths = {len(tensor) if tensor.ndim == 2 else 0 for tensor in rows.values()}
    if not rows.keys() <= set(ENCODERS.values()) or len(rows) != len(tensors) or len(lengths) != 1 or 0 in lengths:
        shapes = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in tensors.items())
        raise CheckpointError(f"{path}: holds {shapes}, which are not rows for the tokens of a CLIP text encoder.")
    if broken := [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]:
        raise CheckpointError(f"{path}: {', '.join(broken)} has numbers that are not finite; the file is spoiled.")
    (count,) = lengths
    counts = counts_of(metadata, path) if TOKEN_MAP in metadata else {named: count}
    if sum(counts.values()) != count:
        raise CheckpointError(f"{path}: has {count} rows, and {sum(counts.values())} tokens by its own account.")
    return Embeddings(counts, rows)


def counts_of(metadata: Mapping[str, str], path: Path) -> dict[str, int]:
    """How many tokens each placeholder has, by the file's own map."""
    try:
        return {str(name): len(tokens) for name, tokens in json.loads(metadata[TOKEN_MAP]).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: its map of tokens cannot be read ({error}).") from error


def knowing(family: F, files: Sequence[Path]) -> F:
    """The family with the new tokens of these files, called by their placeholders.

    Tokens are numbered on from file to file (<s0>, <s1>, ...), so that the files of several runs go together. The words
    of a decoder's prompts are read by the prior beside it, which knows them then. Raises CheckpointError for a
    placeholder that two files have, or rows of another size than the base's.
    """
    if not files:
        return family
    if not family.tokenizers:
        from maquette.families.kandinsky.decoder import KandinskyDecoder  # here, since few have one

        assert isinstance(family, KandinskyDecoder)  # the only family that reads no words itself
        return replace(family, prior=knowing(family.prior, files))
    read = {file: read_embeddings(file) for file in files}
    homes: dict[str, Path] = {}
    for file, embeddings in read.items():
        check_width(embeddings, family, file)
        for name in embeddings.counts:
            if name in homes:
                raise CheckpointError(
                    f'{homes[name]} and {file} both have tokens for "{name}", so that a prompt could mean either. Use '
                    "one of them, or train one with another word in tokens.placeholders."
                )
            homes[name] = file
    counts = {name: count for embeddings in read.values() for name, count in embeddings.counts.items()}
    rows = {name: torch.cat([embeddings.rows[name] for embeddings in read.values()]) for name in family.tokenizers}
    return with_tokens(family, numbered(counts), rows)


def check_width(embeddings: Embeddings, family: Family, file: Path) -> None:
    """Raise CheckpointError where the rows are not for exactly the text encoders that the family has."""
    here = {name: table_of(family, name).shape[1] for name in family.tokenizers}
    there = {name: tensor.shape[1] for name, tensor in embeddings.rows.items()}
    if here != there:
        told = [", ".join(f"{name} {width}" for name, width in sides.items()) for sides in (there, here)]
        raise CheckpointError(
            f"{file}: its tokens are for another kind of base: {told[0]} numbers a row, where this one has {told[1]}."
        )
