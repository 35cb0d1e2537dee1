"""What in a configuration contradicts that each concept has an adapter of its own, trained beside the others."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.config.adapter import LoraConfig
from maquette.config.factors import GaussianConfig, KaimingConfig
from maquette.config.optimization import ProdigyConfig
from maquette.config.words import has_words

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig


def file_name_of(trigger: str) -> str:
    """A concept's trigger as the name of its folder and files."""
    return re.sub(r"[^\w.-]+", "-", trigger).strip("-.") or "concept"


def asked_for(config: "RunConfig", prompt: str) -> int | None:
    """The concept of a bank that a prompt asks for: that of the longest trigger in it; None where it says none."""
    triggers = {concept.trigger: number for number, concept in enumerate(config.concepts) if concept.trigger}
    named = [trigger for trigger in triggers if has_words(prompt, trigger)]
    return triggers[max(named, key=len)] if named else None


def bank_problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """Every setting that cannot be meant beside adapter.bank = true: (dotted path, message)."""
    if not config.is_bank:
        return
    for check in (_settings, _concepts, _pack, _classes):
        yield from check(config)


def _settings(config: "RunConfig") -> Iterator[tuple[str, str]]:
    adapter = config.adapter
    assert isinstance(adapter, LoraConfig)
    if isinstance(config.optimizer, ProdigyConfig):
        cure = 'Use optimizer.kind = "adamw", or train the concepts in runs of their own.'
        yield "optimizer.kind", f'is "prodigy", which finds one step size for all adapters of a bank together. {cure}'
    if config.data.buckets:
        yield "data.buckets", "makes batches of several sizes; a bank passes all concepts at once: set it to false."
    if not isinstance(adapter.init, GaussianConfig | KaimingConfig):
        yield "adapter.init.kind", f'is "{adapter.init.kind}", which a bank cannot start with; use "gaussian".'
    if adapter.start_from is not None:
        yield "adapter.start_from", "is one adapter, and a bank has one for each concept; remove it."
    if config.evaluation.every not in ("auto", 0):
        cure = "set it to 0, and score the adapters with `maquette evaluate` afterwards."
        yield "evaluation.every", f"scores one adapter, and a bank has one for each concept; {cure}"
    for name in ("tokens", "preservation"):
        if getattr(config, name) is not None:
            yield name, "is for one adapter; it cannot stand beside adapter.bank = true."
    if config.text_encoder.train == "full":
        yield "text_encoder.train", 'is "full", but a bank has one text encoder for all concepts; use "lora".'


def _concepts(config: "RunConfig") -> Iterator[tuple[str, str]]:
    concepts = config.concepts
    if not concepts and config.pack is None:
        yield "adapter.bank", "needs [[concepts]], or [pack] and a folder of folders: an adapter is trained for each."
    names = Counter(file_name_of(concept.trigger) for concept in concepts if concept.trigger is not None)
    for i, concept in enumerate(concepts):
        if concept.trigger is None:
            yield f"concepts.{i}.trigger", "is needed in a bank: its files are named for it."
        elif names[file_name_of(concept.trigger)] > 1:
            yield f"concepts.{i}.trigger", f'"{concept.trigger}" gives files the name of another concept\'s; change it.'
        if concept.virtual:
            yield f"concepts.{i}.virtual", "keeps others apart, and the concepts of a bank never meet; remove it."


def _pack(config: "RunConfig") -> Iterator[tuple[str, str]]:
    pack, cure = config.pack, "has no effect beside adapter.bank = true, in which every step trains every concept."
    if pack is not None:
        given = {key: getattr(pack, key) is not None for key in ("rank_per_concept", "steps_per_concept")}
        given["sampler"] = pack.sampler != "cycle"
        yield from ((f"pack.{key}", f"{cure} Remove it.") for key, is_given in given.items() if is_given)


def _classes(config: "RunConfig") -> Iterator[tuple[str, str]]:
    has = [concept.class_prompt is not None or concept.class_folder is not None for concept in config.concepts]
    if config.class_images is not None and any(has) and not all(has):
        for i in (i for i, has_one in enumerate(has) if not has_one):
            yield f"concepts.{i}.class_prompt", "is needed, since other concepts of the bank have class images."
