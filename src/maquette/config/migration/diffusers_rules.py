"""What diffusers' scripts do where no flag says anything, and ours something else."""

from collections.abc import Iterator

from maquette.config.bases import is_edm
from maquette.config.migration.plan import Asked, Outcome, Setting

EDM = ("train_dreambooth_lora_sdxl", "train_dreambooth_lora_sdxl_advanced")
"""The scripts that train a base with an EDM scheduler by EDM's formulas, with or without --do_edm_style_training."""


def implied(asked: Asked) -> Iterator[Outcome]:
    """How the script cuts pictures and holds new tokens, and how it trains a base with EDM's preconditioning."""
    yield from _crop(asked)
    if asked.is_on("train_text_encoder_ti"):
        said = f"{asked.script.name} scales new tokens at every step"
        yield Setting("tokens.retraction", 0.1, said, is_default=True)
    if asked.script.name in EDM and is_edm(asked.text("pretrained_model_name_or_path")):
        said = f"{asked.script.name} on a base with an EDM scheduler"
        yield Setting("loss.noise_levels.kind", "karras", said, is_default=True)
        yield Setting("loss.weighting.kind", "uniform_x0", said, is_default=True)


def _crop(asked: Asked) -> Iterator[Outcome]:
    """Squares: at random places, or in the middle. A prior's pictures are cut by CLIP's own preparation."""
    if asked.script.kandinsky == "prior" or (asked.number("height") and asked.number("width")):
        return
    said = f"{asked.script.name} cuts squares"
    yield Setting("data.buckets", value=False, said=said, is_default=True)
    if asked.script.kandinsky is None and not asked.is_on("center_crop"):
        yield Setting("data.crop", "random", f"{said} at random places", is_default=True)
