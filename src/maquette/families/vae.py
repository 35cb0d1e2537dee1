"""Pictures to the denoiser's own space and back, through an AutoencoderKL."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from jaxtyping import Float
from torch import Tensor


def encode(vae: AutoencoderKL, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the clean sample, in fp32 and as the denoiser sees it: shifted and scaled."""
    posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
    mean, scale = normalisation(vae)
    # Contiguous, as files want them: the posterior's two halves are windows on one tensor.
    return ((posterior.mean.float() - mean) * scale).contiguous(), (posterior.std.float() * scale).contiguous()


def decode(vae: AutoencoderKL, x0: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """Pixels in fp32, in [-1, 1] but for what the decoder overshoots; the inverse of ``encode``'s normalisation."""
    mean, scale = normalisation(vae)
    z = x0.to(vae.device, torch.float32) / scale + mean
    return vae.decode(z.to(vae.dtype)).sample.float()


def normalisation(vae: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """(mean, scale) of x0 = (z - mean) * scale, each (1, c, 1, 1) and in fp32, on the autoencoder's device.

    Stable Diffusion has one factor for all channels; Playground v2.5 also a mean and a deviation of each.
    """
    config, channels = vae.config, vae.config["latent_channels"]
    mean = torch.tensor(config["latents_mean"] or [0.0] * channels, device=vae.device)
    std = torch.tensor(config["latents_std"] or [1.0] * channels, device=vae.device)
    return mean.view(1, -1, 1, 1), (config["scaling_factor"] / std).view(1, -1, 1, 1)


def latent_factor(vae: AutoencoderKL) -> int:
    """Pixels per position of the clean sample, in each direction."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def safe_dtype(vae: AutoencoderKL, dtype: torch.dtype) -> torch.dtype:
    """fp32 for an autoencoder that overflows or blurs in half precision, as its config says (``force_upcast``).

    SDXL's does; its "fp16-fix" version does not, and says so.
    """
    return torch.float32 if vae.config["force_upcast"] else dtype
