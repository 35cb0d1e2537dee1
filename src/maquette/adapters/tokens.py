"""New tokens as something to train: how their rows start, learn, are held in, and rest.

Source: Gal et al. 2022 (arXiv 2208.01618); S1 for several tokens at once, halted while an adapter goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar, assert_never

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from transformers import CLIPTokenizer

from maquette.adapters.base import ParamGroup
from maquette.adapters.state import restore
from maquette.config.adapter import TokensConfig
from maquette.config.words import token_map
from maquette.errors import ConfigError, ModelError
from maquette.families.base import Family
from maquette.families.vocabulary import grown_tables, table_of, with_tokens

F = TypeVar("F", bound=Family)


@dataclass(frozen=True, slots=True, eq=False)
class LearnedTokens:
    """The new rows of one text encoder; a Trainable."""

    module: str
    rows: nn.Parameter
    group: ParamGroup

    @property
    def groups(self) -> Sequence[ParamGroup]:
        """One group: all rows."""
        return (self.group,)

    @property
    def touches(self) -> frozenset[str]:
        """The text encoder, whose output for prompts with new tokens changes."""
        return frozenset({self.module})

    def routing(self, concept: Int[Tensor, " b"]) -> AbstractContextManager[None]:
        """Every example trains the tokens that its caption says."""
        del concept
        return nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """The rows, by module."""
        return {f"{self.module}.new_tokens": self.rows.detach()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy rows in. Raises CheckpointError where name or shape differ."""
        restore({f"{self.module}.new_tokens": self.rows}, state)


def grown(family: F, config: TokensConfig, rng: Generator) -> F:
    """The family with the tokens that a run will learn, at their starting values.

    rng: a CPU generator, drawn from encoder by encoder. Raises ModelError for a family without a text encoder,
    ConfigError for a word that has more tokens than its placeholder.
    """
    if not family.tokenizers:
        raise ModelError(
            f'[tokens]: the family "{family.name}" has no text encoder to learn them for. Remove [tokens].'
        )
    words = token_map(config)
    rows = {
        name: torch.cat(
            [starting_rows(config, word, table_of(family, name), tokenizer, rng) for word in config.placeholders]
        )
        for name, tokenizer in family.tokenizers.items()
    }
    return with_tokens(family, words, rows)


def starting_rows(
    config: TokensConfig, placeholder: str, table: Float[Tensor, "v d"], tokenizer: CLIPTokenizer, rng: Generator
) -> Float[Tensor, "n d"]:
    """The first values of one placeholder's rows, in fp32 on the processor; shapes alone of a table that is no more."""
    known, count = table.float(), config.placeholders[placeholder]
    known = known if known.is_meta else known.cpu()
    match config.init:
        case "random":
            return known.std() * torch.randn(count, known.shape[1], generator=rng).to(known)
        case "mean":
            return known.mean(dim=0).repeat(count, 1)
        case "word":
            word = config.words[placeholder]
            ids = torch.tensor(tokenizer(word, add_special_tokens=False)["input_ids"])
            if not 0 < len(ids) <= count:
                raise ConfigError(
                    f'tokens.words: "{word}" is {len(ids)} tokens and {placeholder} {count}; choose a shorter word, or '
                    f"set tokens.placeholders = {{ {placeholder} = {len(ids)} }}."
                )
            return known[ids[torch.arange(count) % len(ids)]]
        case _:
            assert_never(config.init)


def learned_tokens(
    family: Family, *, lr: float, weight_decay: float, halt_at: int | None, retraction: float
) -> list[LearnedTokens]:
    """The new rows of every text encoder, ready to learn.

    halt_at: the step from which they rest. retraction: see ``retract``; 0 is off.
    """
    parts = []
    for name, table in grown_tables(family).items():
        rows = table.new.weight
        rows.requires_grad_()
        hold = retract(rows, table_of(family, name).float().std(), retraction) if retraction else None
        group = ParamGroup(f"{name}.new_tokens", [rows], lr, weight_decay, halt_at, hold=hold)
        parts.append(LearnedTokens(name, rows, group))
    return parts


def retract(rows: Tensor, spread: Float[Tensor, ""], exponent: float) -> Callable[[], None]:
    """What pulls rows back to a spread after each step: rows * (spread / std(rows))**exponent.

    std is over all numbers of all rows, as spread is over the whole table. Source: diffusers' advanced training
    (retract_embeddings), which also does it between steps and after the rows are frozen, so that they creep on.
    """

    @torch.no_grad()
    def pull() -> None:
        rows.mul_((spread / rows.std()) ** exponent)

    return pull
