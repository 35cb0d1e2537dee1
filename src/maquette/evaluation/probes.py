"""The small fixed set of pictures that is made and scored again and again while something is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from maquette.config.words import TRIGGER, expand
from maquette.errors import ConfigError
from maquette.evaluation.wording import Wording

WORLD: Final = (
    "a photo of {} on the beach",
    "a photo of {} in the city",
    "a photo of {} in a room",
    "a watercolor of {} on the grass",
)
"""Places and a style of the embedded world."""

PHOTOGRAPHS: Final = (
    "a {} in the jungle",
    "a {} on the beach",
    "a {} on a cobblestone street",
    "a painting of a {} in the snow",
)
"""For bases that know the world at large. Source: prompts of DreamBooth's list, and one in another medium."""

WORLD_SCENES: Final = (
    "a red car on the beach",
    "a blue cat in the forest",
    "a yellow house in the snow",
    "a green boat at sea",
)
SCENES: Final = (
    "a dog on the beach",
    "a castle in the snow",
    "a bowl of fruit on a table",
    "a city street at night",
)
"""What to show in a learned style."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One picture of the set.

    text: what the scorer reads, the prompt with the class in place of the concept's name. concept: whose training
    pictures it should be like. is_neutral: asks for the class alone, to see what becomes of the rest of the base.
    """

    prompt: str
    text: str
    seed: int
    concept: int
    is_neutral: bool = False


def probes(
    wordings: Mapping[int, Wording], prompts: Sequence[str], *, num: int, seed: int, is_world: bool
) -> list[Probe]:
    """The set for these concepts: each prompt with ``num`` seeds, and once more without the concept.

    prompts: as the person wrote them, "[trigger]" for the concept's name; empty: of places and styles of the embedded
    world or of the world at large. Raises ConfigError for a prompt that names no concept.
    """
    made = [
        (concept, prompt)
        for concept, named in wordings.items()
        for prompt in (_written(named, prompts) if prompts else defaults(named, is_world=is_world))
    ]
    if lost := [prompt for prompt in prompts if not _is_asked(prompt, wordings)]:
        known = " or ".join(repr(named.phrase) for named in wordings.values())
        raise ConfigError(
            f"evaluation.prompts: {', '.join(map(repr, lost))}: asks for nothing that is learned. Say {known}, or "
            f'"{TRIGGER}", which stands for it.'
        )
    subjects = [
        Probe(prompt, wordings[concept].text_of(prompt), seed + i, concept)
        for concept, prompt in made
        for i in range(num)
    ]
    plain = dict.fromkeys((wordings[concept].text_of(prompt), concept) for concept, prompt in made)
    return [*subjects, *(Probe(text, text, seed, concept, is_neutral=True) for text, concept in plain)]


def defaults(named: Wording, *, is_world: bool) -> list[str]:
    """Prompts for one concept, made from its name."""
    if named.learned == "style":
        return [f"{scene}, in {named.phrase}" for scene in (WORLD_SCENES if is_world else SCENES)]
    return [template.format(named.phrase) for template in (WORLD if is_world else PHOTOGRAPHS)]


def _written(named: Wording, prompts: Sequence[str]) -> list[str]:
    expanded = [expand(prompt, named.phrase) for prompt in prompts]
    return [prompt for prompt in expanded if named.is_in(prompt)]


def _is_asked(prompt: str, wordings: Mapping[int, Wording]) -> bool:
    return TRIGGER in prompt or any(named.is_in(prompt) for named in wordings.values())
