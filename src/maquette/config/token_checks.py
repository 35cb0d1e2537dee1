"""Settings of new tokens that contradict others, or that could have no effect."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.config.adapter import FullConfig, NoAdapterConfig
from maquette.config.pack import left_to_pack
from maquette.config.words import names_in

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig


def token_problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """Each contradiction: the dotted path of the key, and what is wrong with it and what to do."""
    tokens, alone = config.tokens, isinstance(config.adapter, NoAdapterConfig)
    if tokens is None:
        if alone:
            yield "adapter.kind", 'is "none", so that nothing is trained; add a section [tokens], or choose "lora".'
        return
    if isinstance(config.adapter, FullConfig):
        yield "adapter.kind", 'is "full" beside [tokens]; they go with an adapter ("lora", "dora"), or with "none".'
    if config.text_encoder.train != "none":
        cure = 'Set text_encoder.train = "none", or remove [tokens].'
        yield "text_encoder.train", f"changes the text encoder that new tokens are learned for. {cure}"
    yield from _halting(config, alone=alone)
    yield from _placeholders(config)


def _placeholders(config: "RunConfig") -> Iterator[tuple[str, str]]:
    tokens = config.tokens
    assert tokens is not None
    if wrong := [name for name in tokens.placeholders if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII)]:
        allowed = 'a placeholder is one word of letters, digits, "-" and "_", since it names a file too'
        cure = " Rename its folder, or set pack.trigger." if config.pack is not None else ""
        yield "tokens.placeholders", f"has {', '.join(map(repr, wrong))}; {allowed}.{cure}"
    if not tokens.placeholders:
        yield "tokens.placeholders", "is empty; name the words that new tokens stand for, such as { TOK = 2 }."
    if len({name.lower() for name in tokens.placeholders}) < len(tokens.placeholders):
        yield "tokens.placeholders", "differ in capitals only, which other tools do not tell apart; rename one."
    if tokens.init != "word" and tokens.words:
        yield "tokens.words", 'has no effect without tokens.init = "word"; set it, or remove them.'
    is_known = "tokens.placeholders" not in left_to_pack(config)
    if tokens.init == "word" and is_known and (odd := sorted(tokens.placeholders.keys() ^ tokens.words.keys())):
        yield "tokens.words", f"must name one word for each of tokens.placeholders; they differ in {', '.join(odd)}."
    prompts = [("class_images.prompt", config.class_images.prompt)] if config.class_images else []
    prompts += [("preservation.class_prompt", config.preservation.class_prompt)] if config.preservation else []
    prompts += [(f"concepts.{i}.class_prompt", concept.class_prompt) for i, concept in enumerate(config.concepts)]
    for path, prompt in prompts:
        if said := names_in(prompt or "", tokens.placeholders):
            yield path, f"says {', '.join(said)}, which the base does not know yet; write the plain class."


def _halting(config: "RunConfig", *, alone: bool) -> Iterator[tuple[str, str]]:
    tokens = config.tokens
    assert tokens is not None
    if alone and (tokens.stop_step is not None or tokens.stop not in (None, 1.0)):
        path = "tokens.stop" if tokens.stop_step is None else "tokens.stop_step"
        yield path, 'would leave nothing to train with adapter.kind = "none"; remove it, or train fewer steps.'
