"""From which step on a part of what is trained rests: one whole step, however its share of the run was given."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.config.adapter import NoAdapterConfig, TextEncoderConfig, TokensConfig

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig


def halting_share(config: "RunConfig", section: TextEncoderConfig | TokensConfig) -> float:
    """The share of the run after which a part rests: its own; otherwise half for tokens beside an adapter, else all.

    Source of the half: S1.
    """
    if section.stop is not None:
        return section.stop
    return 0.5 if isinstance(section, TokensConfig) and not isinstance(config.adapter, NoAdapterConfig) else 1.0


def halting_step(config: "RunConfig", section: TextEncoderConfig | TokensConfig, steps: int) -> int | None:
    """The optimiser step from which a part rests, in a run of ``steps``; None where it learns to the end."""
    if section.stop_step is not None:
        return section.stop_step
    share = halting_share(config, section)
    return None if share == 1.0 else round(share * steps)


def halting_problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """Halting points that contradict each other or leave nothing to learn: the key's path, and what to do."""
    steps = config.training.auto_steps(1)
    parts: dict[str, TextEncoderConfig | TokensConfig] = {}
    if config.text_encoder.train != "none":
        parts["text_encoder"] = config.text_encoder
    if config.tokens is not None:
        parts["tokens"] = config.tokens
    for name, section in parts.items():
        path = f"{name}.stop"
        if section.stop is not None and section.stop_step is not None:
            yield path, f"and {path}_step are both given; keep one of them."
        elif halting_step(config, section, steps) == 0:
            share = f"{halting_share(config, section):g} of a run of {steps} step{'s' if steps > 1 else ''}"
            yield path, f"is {share}: less than a step, so they would never learn; raise it or training.steps."
