"""The section about packs: many concepts, usually styles, in one adapter, each called by a trigger of its own."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from maquette.config.adapter import FullConfig, NoAdapterConfig
from maquette.config.section import Count, Section, Text, Texts
from maquette.config.words import TRIGGER

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig

NAME = "[name]"
"""What stands for a folder's name."""


class PackConfig(Section):
    """Many concepts in one adapter: [[concepts]], or each folder in data.folder. Source: S0, which packs 28 styles."""

    trigger: Text = "[name]"
    """How the concept of each folder in data.folder is called: "[name]" stands for the folder's name. Source: S0
    ("style_[name]")."""
    virtual: Texts = ()
    """Folders in data.folder that are virtual concepts; see concepts.virtual."""
    rank_per_concept: Count | None = None
    """The adapter's rank is this times the number of concepts, and lora_alpha, unless it is set, equal to it. Unset:
    adapter.rank is the rank of all of them together. Source: S0 (32 for each style)."""
    sampler: Literal["cycle", "balanced"] = "cycle"
    """"cycle" draws every picture once before any comes again, in an order drawn afresh each time, so that a concept
    with more pictures is drawn more often; "balanced" draws every concept once before any comes again, and goes through
    the pictures of each in the same way. Source: S0 (cycle)."""
    steps_per_concept: Count | None = None
    """training.steps is this times the number of concepts, so that each learns as long as it would alone. Unset:
    training.steps counts. Source: S0 (40000 steps for 28 styles)."""
    tokens_per_concept: Count | None = None
    """Each trigger is a placeholder of so many new tokens, as in tokens.placeholders. Unset: triggers are read with the
    tokens that the base has, which must be able to tell them apart. Source: S1 (2)."""


MADE = {
    "rank_per_concept": ("adapter", "rank"),
    "steps_per_concept": ("training", "steps"),
    "tokens_per_concept": ("tokens", "placeholders"),
}
"""What keys of a pack make once its concepts are known: section and key."""


def left_to_pack(config: "RunConfig") -> set[str]:
    """Keys without a value of their own that the pack will make (adapter.rank); none where it has made them."""
    made = [path for name, path in MADE.items() if config.pack is not None and getattr(config.pack, name) is not None]
    sections = [(section, key, getattr(config, section)) for section, key in made]
    return {f"{section}.{key}" for section, key, value in sections if value and key not in value.model_fields_set}


def pack_problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """What in a configuration contradicts that its concepts are a pack: (dotted path, message)."""
    pack = config.pack
    if pack is None:
        return
    if config.data.dataset is not None:
        yield "data.dataset", "is one set of pictures; a pack is [[concepts]], or a data.folder of folders."
    if NAME not in pack.trigger and not config.concepts:
        yield "pack.trigger", f'is the same for every folder; write "{NAME}" where the folder\'s name belongs.'
    if config.data.prompt is not None and TRIGGER not in config.data.prompt and not config.concepts:
        yield "data.prompt", f'calls all concepts of the pack alike; write "{TRIGGER}" where the name belongs.'
    if config.data.trigger is not None and not config.concepts:
        yield "data.trigger", "calls all concepts of the pack alike; remove it (pack.trigger makes one for each)."
    if pack.rank_per_concept is not None and isinstance(config.adapter, FullConfig | NoAdapterConfig):
        yield "pack.rank_per_concept", f'has no effect with adapter.kind = "{config.adapter.kind}"; remove it.'
    yield from _concept_problems(config, pack)


def _concept_problems(config: "RunConfig", pack: PackConfig) -> Iterator[tuple[str, str]]:
    names = Counter(concept.trigger for concept in config.concepts if concept.trigger is not None)
    for i, concept in enumerate(config.concepts):
        if concept.trigger is None:
            if not concept.virtual:
                yield f"concepts.{i}.trigger", "is needed in a pack: it is what calls this concept and no other."
        elif names[concept.trigger] > 1:
            yield f"concepts.{i}.trigger", f'"{concept.trigger}" calls another concept too; give each its own.'
        if pack.sampler == "balanced" and concept.repeats != 1:
            yield f"concepts.{i}.repeats", 'has no effect with pack.sampler = "balanced"; remove it.'
