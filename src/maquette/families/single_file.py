"""Single-file checkpoints in the original layout: told apart by their tensors, read, and written.

The file holds weights alone. Configs of the published models come with the package; a file that maquette wrote carries
its own. Neither holds a vocabulary.
"""

import json
import logging
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from maquette.errors import ModelError
from maquette.families import hub, ldm, parts
from maquette.families.placement import choose_dtype
from maquette.families.published import (
    CLIP,
    CONFIG_KEY,
    OPEN_CLIP,
    UNET,
    VAE,
    XL_CLIP,
    XL_OPEN_CLIP,
    Checkpoint,
    own_config,
    published_config,
    read_header,
)
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.families.text import TextEncoder
from maquette.families.unet import sampler_config
from maquette.families.vae import safe_dtype
from maquette.families.weights import count_parameters, fill, some

logger = logging.getLogger(__name__)

BUFFERS = re.compile(r"[^.]+|denoiser\.sigmas|.*(position_ids|logit_scale)|model_ema\.(decay|num_updates)")
"""Tensors that are no weights of the model: noise tables and flags (names without a dot), and constants."""

VOCABULARY = "openai/clip-vit-large-patch14"
"""The hub's smallest home of CLIP's vocabulary, which all these models share but for the token they pad with."""

Family = StableDiffusion | StableDiffusionXL


def load(file: Path, options: parts.Options, tokenizer: Path | None) -> Family:
    """A family from a single file.

    tokenizer: folder of CLIP's vocabulary; None looks for it in the hub's cache.
    Raises ModelError for files of other models, damaged ones, and where there is no vocabulary.
    """
    checkpoint = read_header(file)
    config, where = own_config(checkpoint) or published_config(checkpoint), str(file)
    vocabulary = find_vocabulary(file) if tokenizer is None else tokenizer
    tokenizers = [parts.read_tokenizer(vocabulary, pad) for pad in config["pad_tokens"]]
    dtype = choose_dtype(options.precision, options.device, count_parameters([file], UNET))

    settings = config["text_encoders"]
    blanks: list[TextEncoder] = [parts.blank_text_encoder(CLIPTextModel, settings[0], tokenizers[0], where)]
    if len(settings) == 2:
        blanks.append(parts.blank_text_encoder(CLIPTextModelWithProjection, settings[1], tokenizers[1], where))
    unet, vae = parts.blank_unet(config["unet"], where), parts.blank_vae(config["vae"], where)
    places = layout(unet, vae, blanks)
    parts.fill_denoiser(unet, tensors_at(file, checkpoint.shapes, places[0]), options, dtype, where)
    for encoder, at in zip(blanks, places[2:], strict=True):
        fill(encoder, tensors_at(file, checkpoint.shapes, at), options.device, dtype, where)
    if options.vae is None:
        fill(vae, tensors_at(file, checkpoint.shapes, places[1]), options.device, safe_dtype(vae, dtype), where)
    else:
        vae = parts.other_vae(options.vae, options, dtype, config["vae"])
    report_left(checkpoint, {place.name for at in places for place in at.values()}, blanks[0])
    return family_of(unet, vae, blanks, tokenizers, parts.build_sampler(config["scheduler"], where), options.clip_skip)


def family_of(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    encoders: Sequence[TextEncoder],
    tokenizers: Sequence[CLIPTokenizer],
    scheduler: ConfigMixin,
    clip_skip: int,
) -> Family:
    """Stable Diffusion for one text encoder, SDXL for two."""
    shared: dict[str, Any] = {"unet": unet, "vae": vae, "scheduler": scheduler, "clip_skip": clip_skip}
    shared |= {"text_encoder": encoders[0], "tokenizer": tokenizers[0]}
    if len(encoders) == 1:
        return StableDiffusion(**shared)
    shared |= {"text_encoder_2": encoders[1], "tokenizer_2": tokenizers[1]}
    return StableDiffusionXL(**shared)


def layout(
    unet: UNet2DConditionModel, vae: AutoencoderKL, encoders: Sequence[TextEncoder]
) -> list[dict[str, ldm.Place]]:
    """Places of the tensors of the denoiser, the autoencoder and the text encoders.

    OpenAI's encoder is told from OpenCLIP's by its activation, the only place where their architectures differ.
    """
    places = [ldm.unet_places(unet, UNET), ldm.vae_places(vae, VAE)]
    if len(encoders) == 2:
        return [*places, ldm.clip_places(encoders[0], XL_CLIP), ldm.open_clip_places(encoders[1], XL_OPEN_CLIP)]
    if encoders[0].config.hidden_act == "quick_gelu":
        return [*places, ldm.clip_places(encoders[0], CLIP)]
    return [*places, ldm.open_clip_places(encoders[0], OPEN_CLIP)]


def tensors_at(file: Path, names: Container[str], places: Mapping[str, ldm.Place]) -> Iterator[tuple[str, Tensor]]:
    """Our tensors, out of their places in a file; those that it lacks are left out."""
    with safe_open(file, "pt") as opened:
        for ours, place in places.items():
            if place.name in names:
                yield ours, place.taken(opened.get_tensor(place.name))


def find_vocabulary(file: Path) -> Path:
    """CLIP's vocabulary from the hub or its cache. Raises ModelError, with the cure, where there is none."""
    try:
        return hub.fetch_part(VOCABULARY, "tokenizer")
    except ModelError as error:
        raise ModelError(
            f"{file}: a single file has no vocabulary, and CLIP's is not on this machine. Name a folder that has it "
            "(vocab.json and merges.txt: the tokenizer folder of any Stable Diffusion) with model.tokenizer "
            f"(--tokenizer). {error}"
        ) from error


def report_left(checkpoint: Checkpoint, known: set[str], encoder: TextEncoder) -> None:
    """Warn of tensors that no part of the model took.

    Stable Diffusion 2 never reads the output of its text encoder's last layer, so that it and the projection behind it
    are no part of the model, and no news.
    """
    beyond = (f"{OPEN_CLIP}transformer.resblocks.{encoder.config.num_hidden_layers}.", f"{OPEN_CLIP}text_projection")
    left = [name for name in checkpoint.shapes if name not in known and not BUFFERS.fullmatch(name)]
    if left := sorted(name for name in left if not name.startswith(beyond)):
        logger.warning("%s: %d tensors are not read: %s.", checkpoint.file, len(left), some(left))


def tensors_of(family: Family) -> dict[str, Tensor]:
    """All weights of a family under the names of the original layout, with the flags that other tools look for.

    Stable Diffusion 2's text encoder gets a copy of its last layer behind it: loaders want the layer, and skip it.
    """
    encoders = _encoders(family)
    modules = [family.unet, family.vae, *encoders]
    result: dict[str, Tensor] = {}
    for module, places in zip(modules, layout(family.unet, family.vae, encoders), strict=True):
        state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
        result |= ldm.stored(places, state)
    last = encoders[0].config.num_hidden_layers - 1
    layer = f"{OPEN_CLIP}transformer.resblocks.{last}."
    copied = {name: tensor for name, tensor in result.items() if name.startswith(layer)}
    result |= {name.replace(f".{last}.", f".{last + 1}.", 1): tensor.clone() for name, tensor in copied.items()}
    scheduler, vae = sampler_config(family.scheduler), family.vae.config
    if scheduler.get("prediction_type") == "v_prediction" and not _is_edm(scheduler):
        result["v_pred"] = torch.empty(0)
    if scheduler.get("rescale_betas_zero_snr"):
        result["ztsnr"] = torch.empty(0)
    if _is_edm(scheduler) and vae["latents_mean"]:
        result["edm_mean"] = torch.tensor(vae["latents_mean"]).view(1, -1, 1, 1)
        result["edm_std"] = torch.tensor(vae["latents_std"]).view(1, -1, 1, 1)
    return result


def metadata_of(family: Family) -> dict[str, str]:
    """The configs that ``load`` needs to read a file back, and what modelspec asks a file to say of itself."""
    encoders = _encoders(family)
    tokenizers = [family.tokenizer, *([family.tokenizer_2] if isinstance(family, StableDiffusionXL) else [])]
    config = {
        "unet": _plain(family.unet.config),
        "vae": _plain(family.vae.config),
        "text_encoders": [_plain(encoder.config.to_dict()) for encoder in encoders],
        "pad_tokens": [tokenizer.pad_token for tokenizer in tokenizers],
        "scheduler": _plain(sampler_config(family.scheduler)),
    }
    velocity = family.scheduler.config.get("prediction_type") == "v_prediction"
    return {
        CONFIG_KEY: json.dumps(config, sort_keys=True),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": _architecture(family, velocity),
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v" if velocity else "epsilon",
        "modelspec.resolution": "{1}x{0}".format(*family.default_size),
    }


def _architecture(family: Family, velocity: bool) -> str:
    if isinstance(family, StableDiffusionXL):
        return "stable-diffusion-xl-v1-base"
    if family.text_encoder.config.hidden_act == "quick_gelu":
        return "stable-diffusion-v1"
    return "stable-diffusion-v2-768-v" if velocity else "stable-diffusion-v2-512"


def _encoders(family: Family) -> list[TextEncoder]:
    return [family.text_encoder, *([family.text_encoder_2] if isinstance(family, StableDiffusionXL) else [])]


def _is_edm(scheduler: Mapping[str, object]) -> bool:
    return str(scheduler.get("_class_name", "")).startswith("EDM")


def _plain(config: Mapping[str, object]) -> dict[str, object]:
    """A config without what its library notes for itself, a path on this machine among it."""
    return {key: value for key, value in config.items() if key == "_class_name" or not key.startswith("_")}
