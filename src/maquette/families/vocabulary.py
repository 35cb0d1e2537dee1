"""New tokens: rows behind the frozen table of a text encoder, in tokenizers that know them."""

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maquette.errors import ModelError
from maquette.families.base import Family
from maquette.families.text import TextEncoder

F = TypeVar("F", bound=Family)


class GrownTable(nn.Module):
    """A text encoder's frozen table of tokens, with rows for new tokens beside it.

    Ids below ``first`` are the table's, all others the rows', in order. The rows are a tensor of their own, so that no
    gradient, moment or weight decay ever touches the table, and nothing has to be put back after a step. They stay in
    fp32 and are rounded to the table's precision where they are looked up.
    """

    def __init__(self, table: nn.Module, rows: Float[Tensor, "n d"], first: int) -> None:
        super().__init__()
        self.table = table  # first: a model's precision is that of its first parameter
        self.new = nn.Embedding.from_pretrained(rows.detach().clone().float(), freeze=True)
        self.first = first

    def forward(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """The rows of the ids, new or not."""
        is_new = ids >= self.first
        old = self.table(ids.masked_fill(is_new, 0))
        new = self.new((ids - self.first).clamp(min=0))
        return torch.where(is_new[..., None], new.to(old.dtype), old)


def with_tokens(family: F, words: Mapping[str, Sequence[str]], rows: Mapping[str, Float[Tensor, "n d"]]) -> F:
    """A family without new tokens, with some, which its text encoders look up in these rows.

    words: placeholder -> its tokens. rows: by text encoder, one for each token in the order of ``words``. The encoders
    are changed in place, the tokenizers are copies. Raises ModelError where a token exists already.
    """
    tokens = [token for group in words.values() for token in group]
    tokenizers = {name: copy.deepcopy(tokenizer) for name, tokenizer in family.tokenizers.items()}
    for name, tokenizer in tokenizers.items():
        if taken := sorted(set(tokens) & tokenizer.get_vocab().keys()):
            raise ModelError(f"the base's {name} has the tokens {', '.join(taken)} already; use a base without them.")
        encoder, first = encoder_of(family, name), len(tokenizer)
        tokenizer.add_tokens(tokens)
        table = encoder.get_input_embeddings()
        assert isinstance(table, nn.Embedding)  # a family grows once: all new tokens come together
        encoder.set_input_embeddings(GrownTable(table, rows[name].to(encoder.device), first))
    return family.with_vocabulary(tokenizers, {**family.words, **words})


def encoder_of(family: Family, name: str) -> TextEncoder:
    """A text encoder of a family."""
    encoder = family.modules[name]
    assert isinstance(encoder, TextEncoder)
    return encoder


def grown_tables(family: Family) -> dict[str, GrownTable]:
    """The tables that have new rows, by text encoder."""
    tables = {name: encoder_of(family, name).get_input_embeddings() for name in family.tokenizers}
    return {name: table for name, table in tables.items() if isinstance(table, GrownTable)}


def table_of(family: Family, name: str) -> Float[Tensor, "v d"]:
    """The frozen table of a text encoder, whether it has grown or not."""
    table = encoder_of(family, name).get_input_embeddings()
    if isinstance(table, GrownTable):
        table = table.table
    assert isinstance(table, nn.Embedding)
    return table.weight.detach()


def make_one_table(family: Family) -> None:
    """Write new rows into the tables themselves, so that the model can be saved as any other.

    Saved so, it reads the tokens themselves ("<s0>"); placeholders are not part of a model.
    """
    for name, grown in grown_tables(family).items():
        encoder, old, rows = encoder_of(family, name), table_of(family, name), grown.new.weight.detach()
        size = max(len(old), grown.first + len(rows))
        whole = torch.zeros(size, old.shape[1], dtype=old.dtype, device=old.device)
        whole[: len(old)] = old
        whole[grown.first : grown.first + len(rows)] = rows
        encoder.set_input_embeddings(nn.Embedding.from_pretrained(whole))
        encoder.config.vocab_size = size
