"""The autoencoder of kandinsky-64: maquette-64's, made twice as wide, since a MoVQ's norms need the channels.

Its latents are maquette-64's own, of mean 0 and spread 1: Kandinsky's pipelines do not scale them, and what was trained
on them stays of use.
"""

import torch
from diffusers.models.attention_processor import SpatialNorm
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from jaxtyping import Float
from torch import Tensor, nn

from maquette.embedded.bank import SIZE
from maquette.embedded.models import LATENTS
from maquette.training.seeds import global_generators, key_at

SEEN = 0.1
"""How much of their random weights the layers keep that let a norm see the latents."""


def new_movq(seed: int, base: AutoencoderKL) -> VQModel:
    """64x64 pixels to 16x16 latents of 14 channels: exactly those of the base, without its noise.

    The decoder is the base's but for its norms, which have 32 groups, whatever the config says, and see the latents.
    Pipelines decode latents as they are, so the codebook is never read, and is as small as it can be.
    """
    with global_generators(key_at(seed, 0, stream="movq")):
        movq = VQModel(
            down_block_types=base.config["down_block_types"],
            up_block_types=base.config["up_block_types"],
            block_out_channels=tuple(2 * width for width in base.config["block_out_channels"]),
            layers_per_block=base.config["layers_per_block"],
            latent_channels=LATENTS,
            vq_embed_dim=LATENTS,
            num_vq_embeddings=1,
            norm_num_groups=8,
            norm_type="spatial",
            sample_size=SIZE,
            mid_block_add_attention=False,
        )
    norms = {name: module for name, module in movq.named_modules() if isinstance(module, SpatialNorm)}
    known = without_noise(base)
    for name in norms:
        known |= {f"{name}.norm_layer.{kind}": known.pop(f"{name}.{kind}") for kind in ("weight", "bias")}
    blank = movq.state_dict()
    movq.load_state_dict(blank | {name: widened(value, blank[name].shape) for name, value in known.items()})
    with torch.no_grad():
        for norm in norms.values():  # the random part tells the two copies of a channel apart, or they would stay alike
            for layer, constant in ((norm.conv_y, 1.0), (norm.conv_b, 0.0)):
                layer.weight.mul_(SEEN)
                nn.init.constant_(layer.bias, constant)
    return movq


def without_noise(base: AutoencoderKL) -> dict[str, Tensor]:
    """The weights of an autoencoder whose encoder makes the means alone; the convolutions at its end become one."""
    weights = base.state_dict()
    mix, shift = weights["quant_conv.weight"][:LATENTS, :, 0, 0], weights["quant_conv.bias"][:LATENTS]
    last, bias = weights["encoder.conv_out.weight"], weights["encoder.conv_out.bias"]
    return weights | {
        "encoder.conv_out.weight": torch.einsum("oi,ihwk->ohwk", mix, last),
        "encoder.conv_out.bias": mix @ bias + shift,
        "quant_conv.weight": torch.eye(LATENTS)[:, :, None, None],
        "quant_conv.bias": torch.zeros(LATENTS),
    }


def widened(value: Float[Tensor, "*small"], shape: torch.Size) -> Float[Tensor, "*large"]:
    """A layer's weight or bias in a network that has several equal copies of every channel, next to each other.

    What such a network computes is the same: a layer takes the mean of the copies, and a norm's groups have them whole.
    Source: Chen et al. 2016 (arXiv 1511.05641), Net2WiderNet.
    """
    for axis, (small, large) in enumerate(zip(value.shape, shape, strict=True)):
        value = value.repeat_interleave(large // small, axis)
        if axis == 1:  # inputs
            value = value * (small / large)
    return value
