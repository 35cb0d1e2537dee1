"""Where each tensor of a model stands in a single-file checkpoint, whose layout is that of the original LDM code.

One map, read in both directions: our names are diffusers' and transformers', theirs are those of CompVis, Stability AI
and OpenCLIP.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from maquette.errors import ModelError
from maquette.families.text import TextEncoder
from maquette.families.weights import some

Form = Literal["same", "transposed", "pointwise", "query", "key", "value"]

FUSED: tuple[Form, ...] = ("query", "key", "value")
"""Thirds of OpenCLIP's one projection, in its order."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's name in the file, and how it is kept there.

    pointwise: a linear layer as a convolution of kernel 1. query, key, value: one third of a fused projection.
    """

    name: str
    form: Form = "same"

    def taken(self, stored: Tensor) -> Tensor:
        """Our tensor, out of the file's."""
        match self.form:
            case "same":
                return stored
            case "transposed":
                return stored.T
            case "pointwise":
                return stored.reshape(stored.shape[:2])
            case _:
                return stored.chunk(3)[FUSED.index(self.form)]


def stored(places: Mapping[str, Place], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors for ours, the inverse of taking each from its place."""
    result: dict[str, Tensor] = {}
    thirds: dict[str, dict[Form, Tensor]] = {}
    for ours, place in places.items():
        tensor = tensors[ours]
        match place.form:
            case "same":
                result[place.name] = tensor
            case "transposed":
                result[place.name] = tensor.T
            case "pointwise":
                result[place.name] = tensor[..., None, None]
            case _:
                thirds.setdefault(place.name, {})[place.form] = tensor
    result |= {name: torch.cat([parts[form] for form in FUSED]) for name, parts in thirds.items()}
    return {name: tensor.contiguous() for name, tensor in result.items()}


UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Layers outside the blocks."""

RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Layers of a residual block. Those of attention blocks are called the same in both."""

_IN_BLOCK = re.compile(
    r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)


def ldm_path(path: str, config: Mapping[str, object]) -> str | None:
    """The original name of a UNet's layer; None where the original layout has no such layer.

    config: the UNet's own, of which the number of residual blocks per level and the kinds of blocks count. Original
    blocks are numbered through: 0 is the first convolution, then come each level's residual blocks and its sampler.
    """
    if path in UNET_ENDS:
        return UNET_ENDS[path]
    layers, up, found = config.get("layers_per_block"), config.get("up_block_types"), _IN_BLOCK.fullmatch(path)
    if not isinstance(layers, int) or not isinstance(up, list | tuple) or found is None:
        return None
    side, level, part, index, leaf = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    place = int(part == "attentions")
    if part == "resnets" and leaf not in RESIDUAL:
        return None
    leaf = RESIDUAL[leaf] if part == "resnets" else leaf
    match side, part:
        case None, _:
            return f"middle_block.{1 if place else 2 * index}.{leaf}"
        case "down", "downsamplers":
            return f"input_blocks.{(level + 1) * (layers + 1)}.0.op"
        case "down", _:
            return f"input_blocks.{1 + level * (layers + 1) + index}.{place}.{leaf}"
        case _, "upsamplers":
            return f"output_blocks.{level * (layers + 1) + layers}.{1 + ('CrossAttn' in str(up[level]))}.{leaf}"
        case _:
            return f"output_blocks.{level * (layers + 1) + index}.{place}.{leaf}"


def unet_places(unet: UNet2DConditionModel, prefix: str) -> dict[str, Place]:
    """Places of a UNet's tensors. Raises ModelError where it has layers that this layout has no name for."""
    places, nameless = {}, []
    for name in unet.state_dict():
        path, _, leaf = name.rpartition(".")
        theirs = ldm_path(path, unet.config)
        if theirs is None:
            nameless.append(path)
        places[name] = Place(f"{prefix}{theirs}.{leaf}")
    if nameless:
        raise ModelError(f"The single-file layout has no name for layers of this denoiser: {some(nameless)}.")
    return places


VAE_NAMES = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"(down|up)_blocks\.(\d+)\.resnets", r"\1.\2.block"),
    (r"(down|up)_blocks\.(\d+)\.(down|up)samplers\.0", r"\1.\2.\3sample"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)


def vae_places(vae: AutoencoderKL, prefix: str) -> dict[str, Place]:
    """Places of an autoencoder's tensors; the file counts the decoder's levels from the picture's side."""
    last = len(vae.config["block_out_channels"]) - 1
    places = {}
    for name in vae.state_dict():
        theirs = re.sub(r"up_blocks\.(\d+)", lambda level: f"up_blocks.{last - int(level[1])}", name)
        for pattern, replacement in VAE_NAMES:
            theirs = re.sub(pattern, replacement, theirs)
        linear = ".attentions." in name and name.endswith("weight") and "group_norm" not in name
        places[name] = Place(prefix + theirs, "pointwise" if linear else "same")
    return places


def clip_places(encoder: TextEncoder, prefix: str) -> dict[str, Place]:
    """Places of the tensors of OpenAI's text encoder, whose names are transformers' own."""
    return {name: Place(f"{prefix}text_model.{bare(name)}") for name in encoder.state_dict()}


OPEN_CLIP_NAMES = (
    (r"^embeddings\.token_embedding", "token_embedding"),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^final_layer_norm", "ln_final"),
    (r"^encoder\.layers", "transformer.resblocks"),
    (r"layer_norm(\d)", r"ln_\1"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.out_proj", "attn.out_proj"),
    (r"self_attn\.[qkv]_proj\.(weight|bias)", r"attn.in_proj_\1"),
)


def open_clip_places(encoder: TextEncoder, prefix: str) -> dict[str, Place]:
    """Places of the tensors of OpenCLIP's text encoder, which has one projection for queries, keys and values."""
    places = {}
    for name in encoder.state_dict():
        if name == "text_projection.weight":
            places[name] = Place(f"{prefix}text_projection", "transposed")
            continue
        theirs = bare(name)
        for pattern, replacement in OPEN_CLIP_NAMES:
            theirs = re.sub(pattern, replacement, theirs)
        third = re.search(r"self_attn\.([qkv])_proj", name)
        places[name] = Place(prefix + theirs, FUSED["qkv".index(third[1])] if third else "same")
    return places


def bare(name: str) -> str:
    """A text encoder's tensor name without the ``text_model.`` that only the one with a projection has."""
    return name.removeprefix("text_model.")
