"""The section about scores along the way, and the choice of a checkpoint that they make possible."""

from typing import Annotated, Literal

from pydantic import Field

from maquette.config.networks import NetworksConfig
from maquette.config.section import Count, Section, Text, Texts, Whole


class EvaluationConfig(Section):
    """Pictures that are made and scored along the way, to tell which checkpoint is good; it is kept in best/.

    On the embedded base its judge reads them; on any other base `[evaluation.networks]` must name what does, else
    nothing is scored.
    """

    every: Whole | Literal["auto"] = "auto"
    """Optimizer steps between scorings; the base is scored before the first step, the result at the end. "auto": six
    times in the run. 0: no scores."""
    prompts: Texts = ()
    """What to make. "[trigger]" stands for what is learned. Empty: it in a few places and media."""
    num: Count = 3
    """Pictures for each prompt, with consecutive seeds. Each prompt is made once more without what is learned."""
    seed: Whole = 0
    """Seed of the first picture of each prompt, the same at every step."""
    steps: Count = 25
    """Sampling steps. Source: `maquette generate`."""
    guidance: Annotated[float, Field(ge=1)] | None = None
    """How strongly prompts are followed. Unset: as in [preview]. Source: `maquette generate`."""
    learns: Literal["auto", "subject", "style", "face"] = "auto"
    """What pictures are compared by with the training pictures. "auto": a style where captions say so, a face where
    the class is a person, else a subject."""
    class_noun: Text | None = None
    """What is learned in common words, "dog": what scorers read instead of its name. Unset: taken from the prompt of
    the class images, or from the captions ("dog" of "sks dog")."""
    patience: Whole = 0
    """End the run when so many scorings have passed since the best one. 0: never."""
    networks: NetworksConfig | None = None
    """Which networks score. Unset: the embedded judge on the embedded base, none on any other."""
