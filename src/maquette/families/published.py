"""Which published model a single-file checkpoint is a version of, told by its tensors' names and shapes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from maquette.errors import ModelError
from maquette.families.weights import some

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

CONFIG_KEY = "maquette.config"
"""Metadata key of the configs in files that maquette wrote."""

# Any: what JSON holds; the builders check it.
Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file's header: the shape of every tensor, and the metadata."""

    file: Path
    shapes: Mapping[str, Sequence[int]]
    metadata: Mapping[str, str]


def read_header(file: Path) -> Checkpoint:
    """Shapes and metadata of a safetensors file. Raises ModelError where it is damaged."""
    try:
        with safe_open(file, "pt") as opened:
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
            return Checkpoint(file, shapes, opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); it may be cut short. Get it again.") from error


def own_config(checkpoint: Checkpoint) -> Config | None:
    """The configs that maquette put into a file of its own; None for other files."""
    text = checkpoint.metadata.get(CONFIG_KEY)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ModelError(
            f"{checkpoint.file}: its metadata {CONFIG_KEY} is no JSON ({error}). Export it again."
        ) from error


def published_config(checkpoint: Checkpoint) -> Config:
    """The configs of the published model that a file is a version of, told by its tensors.

    Raises ModelError for files of other kinds.
    """
    shapes, file = checkpoint.shapes, checkpoint.file
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        raise ModelError(f"{file}: is no checkpoint in the original layout of Stable Diffusion. {_guess(shapes)}")
    if first[1] != 4:
        raise ModelError(
            f"{file}: its denoiser takes {first[1]} channels; it is for inpainting or editing, not for text."
        )
    prediction = predicts(checkpoint)
    name = _name(checkpoint, prediction)
    config = json.loads((files("maquette.families") / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    if prediction is not None and name != "playground":
        config["scheduler"]["prediction_type"] = prediction
    if "ztsnr" in shapes:
        config["scheduler"]["rescale_betas_zero_snr"] = True
    return config


def _name(checkpoint: Checkpoint, prediction: str | None) -> str:
    shapes, file = checkpoint.shapes, checkpoint.file
    marker = "transformer.resblocks.0.ln_1.weight"
    if XL_OPEN_CLIP + marker in shapes:
        return "playground" if "edm_mean" in shapes else "sdxl"
    if f"conditioner.embedders.0.model.{marker}" in shapes:
        raise ModelError(f"{file}: is SDXL's refiner, which cannot be used alone. Use SDXL's base.")
    if OPEN_CLIP + marker in shapes:
        if prediction is None:
            beside = file.with_suffix(".yaml").name
            raise ModelError(
                f"{file}: is Stable Diffusion 2, some versions of which predict noise and some v; the file does not "
                f'say which. Write a {beside} beside it with the line parameterization: "v" for the versions of 768 '
                'pixels, or parameterization: "eps" for those of 512.'
            )
        return "sd2-v" if prediction == "v_prediction" else "sd2"
    if any(name.startswith(CLIP) for name in shapes):
        return "sd1"
    raise ModelError(f"{file}: has a denoiser but no text encoder. Use a checkpoint with all its parts.")


def _guess(shapes: Mapping[str, Sequence[int]]) -> str:
    names = list(shapes)
    if any("lora_" in name or "hada_" in name or "lokr_" in name for name in names):
        return "It holds an adapter; a base is a whole model."
    if any(".joint_blocks." in name or "double_blocks." in name for name in names):
        return "It looks like SD3 or Flux, which maquette does not know."
    if any(name.startswith("down_blocks.") for name in names):
        return "It looks like one part of a diffusers folder; give the whole folder."
    return f"It holds: {some(sorted(names))}."


def predicts(checkpoint: Checkpoint) -> str | None:
    """What a file's tensors, its metadata or the .yaml beside it say that it predicts; None if nothing does."""
    if "v_pred" in checkpoint.shapes:
        return "v_prediction"
    said = checkpoint.metadata.get("modelspec.prediction_type", "")
    beside = checkpoint.file.with_suffix(".yaml")
    if not said and beside.is_file():
        found = re.search(r"parameterization:\s*[\"']?(\w+)", beside.read_text(encoding="utf-8", errors="replace"))
        said = found[1] if found else "eps"  # the original code's default
    return {"v": "v_prediction", "eps": "epsilon", "epsilon": "epsilon"}.get(said)
