"""The networks of the embedded base model, maquette-64: Stable Diffusion 1's architecture at toy size, untrained."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from maquette.training.seeds import global_generators, key_at

WIDTH = 128
"""Features of a text token, which the denoiser attends to."""

LATENTS = 14
"""Channels of a latent. A principal component analysis of 4x4 pixels of the world keeps 21.1 dB in 4 channels, 23.3 in
6, 24.5 in 8, 25.7 in 10, 27.0 in 12 and 29.1 in 16; an autoencoder trained for half an hour stays a decibel below."""


def new_autoencoder(seed: int) -> AutoencoderKL:
    """64x64 pixels to 16x16 latents of 14 channels; Stable Diffusion's has one halving more and 4 channels."""
    with global_generators(key_at(seed, 0, stream="autoencoder")):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(16, 32, 64),
            layers_per_block=1,
            latent_channels=LATENTS,
            norm_num_groups=8,
            sample_size=64,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        )
    assert vae.quant_conv is not None
    assert vae.quant_conv.bias is not None
    with torch.no_grad():  # start with little noise, not with unit noise that drowns the latents of the first steps
        vae.quant_conv.weight[LATENTS:] *= 0.1
        vae.quant_conv.bias[LATENTS:] = -6.0
    return vae


def new_denoiser(seed: int) -> UNet2DConditionModel:
    """6.7 M parameters; no attention at 16x16, where it costs most and brings least."""
    with global_generators(key_at(seed, 0, stream="denoiser")):
        return UNet2DConditionModel(
            sample_size=16,
            in_channels=LATENTS,
            out_channels=LATENTS,
            block_out_channels=(64, 128, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            norm_num_groups=16,
        )


def new_text_encoder(seed: int, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers, with the start and end tokens of its tokenizer, so that pooling finds the end whatever is added."""
    with global_generators(key_at(seed, 0, stream="text_encoder")):
        return CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=tokenizer.model_max_length,
                projection_dim=WIDTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


def new_scheduler() -> DDPMScheduler:
    """Stable Diffusion 1's noise schedule, epsilon prediction."""
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
