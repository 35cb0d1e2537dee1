"""The parts of a diffusers folder, each read and checked the same way for every family."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from maquette.diffusion.scheduler import read_scheduler
from maquette.errors import ModelError
from maquette.families.placement import Precision, choose_dtype
from maquette.families.quantized import Quantization, quantized
from maquette.families.text import TextEncoder, with_special_tokens
from maquette.families.vae import safe_dtype
from maquette.families.weights import blank, count_parameters, fill, read_json, tensors_in, weight_files

E = TypeVar("E", bound=TextEncoder)
M = TypeVar("M", bound=nn.Module)

Tensors = Iterable[tuple[str, Tensor]]

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in autoencoders that were saved by diffusers before 0.14, Stable Diffusion 1.5's among them."""

SCALE: Mapping[str, object] = {"scaling_factor": 0.18215, "latents_mean": None, "latents_std": None}
"""Settings of an autoencoder that say how its latents become what the denoiser sees, and what they are where unsaid."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a checkpoint is to be loaded.

    vae: folder of an autoencoder that replaces the checkpoint's own. prior, decoder: folder of the other
    half, for a decoder or a prior; beside: its precision.
    variant: which weight files, such as "fp16". clip_skip: how many of the text encoders' last layers to leave out.
    quantize: how the denoiser's linear layers are held.
    """

    device: torch.device
    precision: Precision = "fp32"
    variant: str | None = None
    vae: Path | None = None
    prior: Path | None = None
    decoder: Path | None = None
    beside: Precision = "fp32"
    clip_skip: int = 0
    quantize: Quantization = "none"


def check_parts(folder: Path, parts: Sequence[str], options: Options) -> None:
    """Raise ModelError naming all the parts that a diffusers folder lacks."""
    missing = [part for part in parts if not (folder / part).is_dir() and not (part == "vae" and options.vae)]
    if missing:
        there = sorted(child.name for child in folder.iterdir() if child.is_dir())
        raise ModelError(
            f"{folder}: has no folder {', '.join(missing)} (it has: {', '.join(there) or 'none'}). Copy or download "
            "the whole model again."
        )


def folder_dtype(folder: Path, options: Options, denoiser: str = "unet") -> torch.dtype:
    """The dtype to hold the weights in, by the size of the denoiser. denoiser: its folder."""
    if options.device.type == "meta":
        return torch.float32
    size = count_parameters(weight_files(folder / denoiser, options.variant))
    return choose_dtype(options.precision, options.device, size)


def read_unet(folder: Path, options: Options, dtype: torch.dtype) -> UNet2DConditionModel:
    """The denoiser in ``folder``."""
    unet = blank_unet(read_json(folder / "config.json"), str(folder))
    return fill_denoiser(unet, tensors_in(folder, options.variant), options, dtype, str(folder))


def fill_denoiser(module: M, tensors: Tensors, options: Options, dtype: torch.dtype, where: str) -> M:
    """A blank denoiser with its weights, quantized where the options ask for that, on their device.

    What is quantized goes to the device layer by layer: all of it in full may be more than fits there.
    """
    first = options.device if options.quantize == "none" else torch.device("cpu")
    return quantized(fill(module, tensors, first, dtype, where), options.quantize, options.device)


def blank_unet(config: Mapping[str, object], where: str) -> UNet2DConditionModel:
    """A denoiser of this config, without weights."""
    settings = model_settings(UNet2DConditionModel, config, where)
    return blank(lambda: UNet2DConditionModel(**settings), where)


def read_vae(folder: Path, options: Options, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder in ``folder``, or the options' in its place; in fp32 where its config asks for that."""
    if options.vae is None:
        return vae_in(folder, options, dtype, options.variant)
    own = folder / "config.json"
    return other_vae(options.vae, options, dtype, read_json(own) if own.is_file() else {})


def other_vae(folder: Path, options: Options, dtype: torch.dtype, own: Mapping[str, object]) -> AutoencoderKL:
    """The autoencoder in ``folder`` in place of a base's own, whose config is ``own``.

    The base's denoiser was trained on latents of the base's scale, which is kept: Playground v2.5 differs from SDXL in
    nothing else.
    """
    vae = vae_in(folder, options, dtype, None)
    scale = {key: own.get(key, unsaid) for key, unsaid in SCALE.items()} if own else {}
    if other := [key for key, value in scale.items() if vae.config[key] != value]:
        logger.warning(
            "%s: has another %s than the base's own autoencoder; the base's is used, as its denoiser was trained so.",
            folder,
            ", ".join(other),
        )
        vae.register_to_config(**scale)
    return vae


def vae_in(folder: Path, options: Options, dtype: torch.dtype, variant: str | None) -> AutoencoderKL:
    """The autoencoder in ``folder``, with its weights."""
    vae = blank_vae(read_json(folder / "config.json"), str(folder))
    tensors = with_new_attention(tensors_in(folder, variant))
    return fill(vae, tensors, options.device, safe_dtype(vae, dtype), str(folder))


def blank_vae(config: Mapping[str, object], where: str) -> AutoencoderKL:
    """An autoencoder of this config, without weights."""
    settings = model_settings(AutoencoderKL, config, where)
    return blank(lambda: AutoencoderKL(**settings), where)


def with_new_attention(tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
    """The same tensors, under the names that attention has had since diffusers 0.14."""
    for name, tensor in tensors:
        path, _, leaf = name.rpartition(".")
        parent, _, last = path.rpartition(".")
        yield (f"{parent}.{OLD_ATTENTION[last]}.{leaf}" if last in OLD_ATTENTION else name), tensor


def read_tokenizer(folder: Path, pad_token: str | None = None) -> CLIPTokenizer:
    """The CLIP tokenizer in ``folder``; ``pad_token`` replaces the one its config names."""
    if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise ModelError(f"{folder}: has no vocabulary (vocab.json and merges.txt, or tokenizer.json).")
    # Any: transformers declares the types of its own arguments only.
    replaced: dict[str, Any] = {} if pad_token is None else {"pad_token": pad_token}
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True, **replaced)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder}: is no CLIP tokenizer ({error}).") from error


def read_text_encoder(folder: Path, kind: type[E], tokenizer: CLIPTokenizer, options: Options, dtype: torch.dtype) -> E:
    """The text encoder in ``folder``, pooling at its tokenizer's own end token."""
    encoder = blank_text_encoder(kind, read_json(folder / "config.json"), tokenizer, str(folder))
    # transformers 5 dropped the prefix from the encoder without a projection, and kept it in the other.
    prefix = "" if kind is CLIPTextModel else "text_model."
    tensors = tensors_in(folder, options.variant)
    named = ((with_prefix(name, prefix), tensor) for name, tensor in tensors)
    return fill(encoder, named, options.device, dtype, str(folder))


def blank_text_encoder(kind: type[E], config: Mapping[str, object], tokenizer: CLIPTokenizer, where: str) -> E:
    """A text encoder of this config, without weights, pooling at the tokenizer's end token.

    The prompt's length becomes what both can do. Raises ModelError where the tokenizer has more tokens than it.
    """
    settings = with_special_tokens(CLIPTextConfig.from_dict(dict(config)), tokenizer)
    if len(tokenizer) > settings.vocab_size:
        raise ModelError(
            f"{where}: the encoder knows {settings.vocab_size} tokens, but its tokenizer has {len(tokenizer)}; "
            "they belong to different models."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, settings.max_position_embeddings)
    return blank(lambda: kind(settings), where)


def with_prefix(name: str, prefix: str) -> str:
    """A text encoder's tensor name, its ``text_model.`` put on or taken off; the projection's has none either way."""
    bare = name.removeprefix("text_model.")
    return bare if bare.startswith("text_projection") else prefix + bare


def read_sampler(folder: Path) -> ConfigMixin:
    """The scheduler in ``folder``. Raises ModelError where its config describes no training that maquette knows."""
    file = folder / "scheduler_config.json"
    return build_sampler(read_json(file), str(file))


def build_sampler(config: Mapping[str, object], where: str) -> ConfigMixin:
    """The diffusers scheduler of a config, checked to describe a training that maquette knows."""
    read_scheduler(config, where)
    name = str(config.get("_class_name", "DDPMScheduler"))
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise ModelError(f'{where}: diffusers {diffusers.__version__} has no scheduler "{name}".')
    return kind.from_config(dict(config))


def model_settings(kind: type[ConfigMixin], config: Mapping[str, object], where: str) -> dict[str, object]:
    """The arguments that a config gives to a model class.

    Raises ModelError where the config is of another class, or has a setting that this class does not know.
    """
    name = config.get("_class_name", kind.__name__)
    if name != kind.__name__:
        raise ModelError(f'{where}: holds a "{name}" where a {kind.__name__} is needed; it is of another family.')
    return dict(kind.extract_init_dict(dict(config))[0])


def check_fit(unet: UNet2DConditionModel, vae: AutoencoderKL, width: int, addition: str | None) -> None:
    """Raise ModelError where the parts do not belong together, or the denoiser needs more than a caption.

    width: features of a text token. addition: the kind of extra embedding the family has, as UNet configs name it.
    """
    config, problems = unet.config, []
    channels, latent = config["in_channels"], vae.config["latent_channels"]
    if channels != latent:
        kind = " (a checkpoint for inpainting)" if channels == 2 * latent + 1 else ""
        problems.append(f"its denoiser takes {channels} channels{kind}, and its autoencoder makes {latent}")
    if config["cross_attention_dim"] != width:
        problems.append(
            f"its denoiser reads {config['cross_attention_dim']} features a token, and its text has {width}"
        )
    if config["addition_embed_type"] != addition:
        problems.append(f"its denoiser has the extra embedding {config['addition_embed_type']}, not {addition}")
    if config["class_embed_type"] or config["encoder_hid_dim_type"]:
        problems.append("its denoiser is told more than a caption")
    if problems:
        raise ModelError(
            f"The parts of the model do not fit: {'; '.join(problems)}. Use a text-to-image model's own parts."
        )


def text_width(*encoders: TextEncoder) -> int:
    """Features of a token that the encoders give together."""
    return sum(encoder.config.hidden_size for encoder in encoders)
