"""What diffusers' scripts do where no flag says anything, and ours something else."""

import math
from collections.abc import Iterator

from maquette.config.bases import is_edm
from maquette.config.migration.plan import Asked, Outcome, Remark, Setting

EDM = ("train_dreambooth_lora_sdxl", "train_dreambooth_lora_sdxl_advanced")
"""The scripts that train a base with an EDM scheduler by EDM's formulas, with or without --do_edm_style_training."""


DECAY = 0.9999
"""What a step leaves of diffusers' moving average at the most; before, step n leaves (1 + n) / (10 + n).

Source: EMAModel of diffusers and PaddleMIX, as their scripts make it.
"""


def implied(asked: Asked) -> Iterator[Outcome]:
    """How the script cuts pictures, holds new tokens, averages, and trains a base with EDM's preconditioning."""
    yield from _crop(asked)
    yield from _average(asked)
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


def _average(asked: Asked) -> Iterator[Outcome]:
    """A half-life that ends the run with half of the average where the script's has half of it.

    The script's average remembers ever longer: of n steps the weight of step k goes with (k / n)^9, so that half of it
    lies in the last 1 - 2^(-1/9) of them, until its decay is fixed.
    """
    if not asked.is_on("use_ema"):
        return
    said, share, steps = asked.given["use_ema"].said, 1 - 2 ** (-1 / 9), asked.steps()
    why = (
        f"their average remembers ever longer; in the end half of it is of the last {100 * share:.0f} % of the pictures"
    )
    if steps is None:
        yield Remark("open", said, f"{why}. Set training.ema.half_life_images to about that many.")
        return
    pictures = int(asked.number("train_batch_size") or 1) * int(asked.number("gradient_accumulation_steps") or 1)
    images = float(f"{pictures * min(share * steps, math.log(0.5, DECAY)):.2g}")
    yield Setting("training.ema.half_life_images", images, said, is_default=True)
    yield Remark("open", said, f"{why}, {images:g}; half_life_images is that from the start. See whether it suits.")
