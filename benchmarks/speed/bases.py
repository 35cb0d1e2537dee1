"""Bases with random weights, and pictures of noise: the shapes that speed depends on, and nothing else."""

from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from PIL import Image
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from maquette.families.load import EMBEDDED
from maquette.families.parts import read_tokenizer

UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


def sd15_size(folder: Path) -> None:
    """Write a diffusers folder with Stable Diffusion 1.5's shapes, in bf16, which halves what has to be written.

    Only the vocabulary is smaller, which no step notices.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        words = len(read_tokenizer(EMBEDDED["maquette-64"] / "tokenizer"))
        text = CLIPTextModel(CLIPTextConfig(vocab_size=words, **TEXT))
        save(folder, UNet2DConditionModel(**UNET), AutoencoderKL(**VAE), text)
    finally:
        torch.set_default_dtype(before)


def embedded_size(folder: Path) -> None:
    """Write the shapes of the embedded base with random weights and four channels of latents.

    Four as in Stable Diffusion, whatever the embedded base has: of six, the public example takes three for a learned
    variance, and fails.
    """
    embedded = EMBEDDED["maquette-64"]
    unet = dict(UNet2DConditionModel.load_config(embedded / "unet")) | {"in_channels": 4, "out_channels": 4}
    vae = dict(AutoencoderKL.load_config(embedded / "vae"))
    vae |= {"latent_channels": 4, "latents_mean": None, "latents_std": None}
    text = CLIPTextModel(CLIPTextConfig.from_pretrained(embedded / "text_encoder"))
    save(folder, UNet2DConditionModel.from_config(unet), AutoencoderKL.from_config(vae), text)


def save(folder: Path, unet: nn.Module, vae: nn.Module, text: nn.Module) -> None:
    """Write a diffusers folder around three parts."""
    pipeline = StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=read_tokenizer(EMBEDDED["maquette-64"] / "tokenizer"),
        scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Write square pictures of noise, at the very size that is trained: nobody gains by how photographs are reduced."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{i}.png")
