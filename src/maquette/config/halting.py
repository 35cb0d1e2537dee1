"""From which step on a part of what is trained rests: one whole step, however its share of the run was given."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.config.adapter import TextEncoderConfig, TokensConfig

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig


def halting_step(section: TextEncoderConfig | TokensConfig, steps: int, *, default: float) -> int | None:
    """The optimiser step from which a part rests, in a run of ``steps``; None where it learns to the end.

    default: the share of the run where the section names neither a share nor a step.
    """
    if section.stop_step is not None:
        return section.stop_step
    share = default if section.stop is None else section.stop
    return None if share == 1.0 else round(share * steps)


def halting_problems(config: "RunConfig") -> Iterator[tuple[str, str]]:
    """Halting points that contradict each other or leave nothing to learn: the key's path, and what to do."""
    steps = config.training.auto_steps(1)
    parts: list[tuple[str, TextEncoderConfig | TokensConfig, int | None]] = []
    if config.text_encoder.train != "none":
        parts.append(("text_encoder", config.text_encoder, config.text_encoder_halt(steps)))
    if config.tokens is not None:
        parts.append(("tokens", config.tokens, config.tokens_halt(steps)))
    for name, section, step in parts:
        path = f"{name}.stop"
        if section.stop is not None and section.stop_step is not None:
            yield path, f"and {path}_step are both given; keep one of them."
        elif step == 0:
            yield path, f"is {section.stop:g} of the run: less than a step, so they would never learn; raise it."
