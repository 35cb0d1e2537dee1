"""playground-64 before it is trained: the weights of maquette-64 in the modules of Playground v2.5.

Two models of one architecture differ here in how they read text and noise. All that can be carried over is:

| what differs | maquette-64 | playground-64 | carried over |
|---|---|---|---|
| text | behind the last layer norm | before it, of two encoders | exactly: one more layer computes the norm |
| input | x_t / sqrt(1 + s**2) | c_in x_t | exactly: the same for s = sigma / sigma_data |
| time | index of s in a table | ln(sigma) / 4 | by least squares, over the noise levels of sampling |
| output | the noise, eps | F = s x - sqrt(1 + s**2) eps | -eps, which F is at low noise; the rest is learned |
"""

import math
from collections.abc import Mapping
from typing import TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_edm_dpmsolver_multistep import EDMDPMSolverMultistepScheduler
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from maquette.diffusion.level import NoisePath
from maquette.families.parts import with_prefix
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.training.seeds import global_generators, key_at

E = TypeVar("E", CLIPTextModel, CLIPTextModelWithProjection)

SIGMA_DATA = 0.5
"""Spread of a clean sample. Source: Playground v2.5's scheduler, and Karras et al. 2022 (arXiv 2206.00364), table 1."""

SHRUNK = 2.0**-6
"""Size of the text encoders' hidden states beside the base's: small beside their norm, so that half precision can tell
both apart in a sum. A power of two: weights keep every digit."""

WRITING = ("token_embedding", "position_embedding", "out_proj", "fc2")
"""What a text encoder adds to its hidden states."""

TIME_IDS = 6
TIME_IDS_WIDTH = 32
"""How many numbers tell a picture's sizes and crop, and the features of each."""

RISING = 33
"""Of the sines and cosines that a denoiser is told of its time, sin(0.75 t), which rises all the way from the least
noise to the most, t = ln(sigma) / 4."""

STEEPNESS = 10.0
RIDGE = 1e-2
"""Of the soft hinges that the time embedding is fitted with: noise levels then keep 99 % of their embeddings' variance,
with weights as small as trained ones."""


def new_playground(base: StableDiffusion, seed: int) -> StableDiffusionXL:
    """Playground v2.5's modules with the base's weights; what they make of pictures and words is what the base does.

    seed: of the layers that the base does not have.
    The base's latents have mean 0 and spread 1 in every channel, so that of Playground's ``latents_mean``,
    ``latents_std`` and factor only the factor is left; diffusers' pipeline can read the former for 4 channels alone.
    An empty negative prompt is the empty text, which the base was trained with; in the published model it is zeros.
    """
    scheduler = EDMDPMSolverMultistepScheduler(sigma_data=SIGMA_DATA)
    vae = AutoencoderKL.from_config(base.vae.config)
    assert isinstance(vae, AutoencoderKL)
    vae.load_state_dict(base.vae.state_dict())
    vae.register_to_config(scaling_factor=SIGMA_DATA)
    family = StableDiffusionXL(
        unet=_new_denoiser(base.unet, base.text_encoder.config.hidden_size, seed),
        vae=vae,
        text_encoder=with_norm(base.text_encoder),
        text_encoder_2=without_norm(base.text_encoder),
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer,
        scheduler=scheduler,
        zero_negative=False,
    )
    carry_denoiser(family.unet, base.unet)
    fit_time(family.unet, family.diffusion.path, base.unet, base.diffusion.path)
    for name, module in family.modules.items():
        module.requires_grad_(requires_grad=name == "denoiser")
    return family


def with_norm(base: CLIPTextModel) -> CLIPTextModel:
    """An encoder whose last hidden state but one is ``base``'s own, shrunk, and the last layer norm of it added.

    An encoder's layer adds fc2(act(fc1(norm(x)))) to x, and act(x) - act(-x) = x for CLIP's activations: a layer can
    compute its norm. What stands before the sum is ``without_norm``'s to give.
    """
    width, room = base.config.hidden_size, base.config.intermediate_size
    both = nn.functional.pad(torch.cat([torch.eye(width), -torch.eye(width)]), (0, 0, 0, room - 2 * width))
    layer = f"encoder.layers.{base.config.num_hidden_layers}"
    norm = {f"{layer}.layer_norm2.{name}": value for name, value in base.final_layer_norm.state_dict().items()}
    return _lengthened(
        CLIPTextModel, base, 2, norm | {f"{layer}.mlp.fc1.weight": both, f"{layer}.mlp.fc2.weight": both.T}
    )


def without_norm(base: CLIPTextModel) -> CLIPTextModelWithProjection:
    """An encoder whose last hidden state but one is ``base``'s own, shrunk, and whose pooled embedding is the same."""
    projection = {"text_projection.weight": torch.eye(base.config.hidden_size)}
    return _lengthened(CLIPTextModelWithProjection, base, 1, projection)


def _lengthened(kind: type[E], base: CLIPTextModel, layers: int, given: Mapping[str, Tensor]) -> E:
    """The encoder with more layers at its end, which add nothing but what is given, and hidden states shrunk all along.

    Every layer reads them behind a norm, so shrinking all that is added to them changes nothing else.
    """
    config = CLIPTextConfig.from_dict(base.config.to_dict())
    config.num_hidden_layers, config.projection_dim = base.config.num_hidden_layers + layers, base.config.hidden_size
    config.layer_norm_eps = float(base.config.layer_norm_eps or 0.0) * SHRUNK**2
    encoder = kind(config).float()  # the base's config says how its files hold weights
    blank = {name: value if "norm" in name else torch.zeros_like(value) for name, value in encoder.state_dict().items()}
    carried = {
        name: value * SHRUNK if name.split(".")[-2] in WRITING else value for name, value in base.state_dict().items()
    }
    prefix = "" if kind is CLIPTextModel else "text_model."
    encoder.load_state_dict(blank | {with_prefix(name, prefix): value for name, value in {**carried, **given}.items()})
    return encoder


def _new_denoiser(base: UNet2DConditionModel, width: int, seed: int) -> UNet2DConditionModel:
    settings = {
        "cross_attention_dim": 2 * width,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_IDS_WIDTH,
        "projection_class_embeddings_input_dim": width + TIME_IDS * TIME_IDS_WIDTH,
    }
    with global_generators(key_at(seed, 0, stream="denoiser")):
        return cast(UNet2DConditionModel, UNet2DConditionModel.from_config({**base.config, **settings}))


def carry_denoiser(unet: UNet2DConditionModel, base: UNet2DConditionModel) -> None:
    """Give a denoiser the base's weights: it then outputs the negative of what the base does.

    That holds for contexts that are ``with_norm``'s and ``without_norm``'s, side by side, for the same embedding of
    time, and whatever it is told of pooled text and sizes.
    """
    weights = unet.state_dict()
    for name, value in base.state_dict().items():
        if name.startswith("conv_out."):
            weights[name] = -value
        elif ".attn2.to_k." in name or ".attn2.to_v." in name:
            weights[name] = torch.cat([value, -value], dim=1)
        else:  # a convolution of one pixel is a linear layer here
            weights[name] = value.view_as(weights[name])
    for name in weights:
        if name.startswith("add_embedding.linear_2."):
            weights[name] = torch.zeros_like(weights[name])
    unet.load_state_dict(weights)


def fit_time(unet: UNet2DConditionModel, path: NoisePath, base: UNet2DConditionModel, base_path: NoisePath) -> None:
    """Tell noise levels with the embeddings by which the base knows them: least squares over soft hinges.

    Levels are those of sampling, evenly in ln(sigma).
    """
    low, high = (math.log(end) for end in path.ends)
    sigma = torch.linspace(low, high, 1000).exp()
    wanted = _embedded(base, base_path.at(sigma / SIGMA_DATA).t)
    told = unet.time_proj(path.at(sigma).t)
    first, second = unet.time_embedding.linear_1, unet.time_embedding.linear_2
    at = torch.linspace(float(told[0, RISING]), float(told[-1, RISING]), first.out_features)
    with torch.no_grad():
        first.weight.zero_()[:, RISING] = STEEPNESS
        first.bias.copy_(-STEEPNESS * at)
        hinges = nn.functional.silu(first(told)).double()
        columns = torch.cat([hinges, torch.ones(len(sigma), 1, dtype=torch.float64)], dim=1)
        square = columns.T @ columns / len(sigma) + RIDGE * torch.eye(columns.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(square, columns.T @ wanted.double() / len(sigma))
        second.weight.copy_(solved[:-1].T)
        second.bias.copy_(solved[-1])


@torch.no_grad()
def _embedded(unet: UNet2DConditionModel, t: Float[Tensor, " b"]) -> Float[Tensor, "b d"]:
    return unet.time_embedding(unet.time_proj(t))
