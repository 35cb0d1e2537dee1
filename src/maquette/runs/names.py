"""The names of what is measured on pictures along the way: training writes them, the report looks for them."""

from collections.abc import Mapping
from typing import Final, Literal

Learned = Literal["subject", "style", "face"]
"""What a run learns, which decides what its pictures are compared by."""

FIDELITY: Final[Mapping[Learned, str]] = {
    "subject": "subject fidelity",
    "style": "style fidelity",
    "face": "face fidelity",
}
"""How much pictures are like the training pictures, by what is learned."""

PROMPT: Final = "prompt fidelity"
DIVERSITY: Final = "diversity"
DRIFT: Final = "drift from the base"
OTHER_PROMPTS: Final = "fidelity to other prompts"
"""Of neutral pictures of the base: what a prompt that is ignored would score."""

LOSS: Final = "validation loss"

NAMES: Final = (*FIDELITY.values(), PROMPT, DIVERSITY, DRIFT)
"""Every score of pictures."""
