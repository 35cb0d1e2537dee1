"""Pretraining's first part: an autoencoder whose latents are alike in spread, and a decoder made sharper afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d

from maquette.embedded.bank import Pictures
from maquette.embedded.batches import even
from maquette.training.objective import Objective
from maquette.training.seeds import rng_at

SQUARE_WEIGHT = 4.0
COARSE_WEIGHT = 2.0

KL_WEIGHT = 1e-4
"""Pull of the latents towards a unit Gaussian, per latent number: enough to keep them smooth, far below the picture's
own error."""


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """Pictures in [-1, 1] and what the loop reads of every batch."""

    pixels: Float[Tensor, "b 3 h w"]
    weight: Float[Tensor, " b"]
    concept: Int[Tensor, " b"]


def picture_batches(bank: Pictures, batch_size: int, seed: int) -> Callable[[int], Sequence[PictureBatch]]:
    """Step -> one batch of random pictures of the bank."""

    def batches_at(step: int) -> Sequence[PictureBatch]:
        chosen = torch.randint(len(bank), (batch_size,), generator=rng_at(seed, step, stream="pictures"))
        return [PictureBatch(to_pixels(bank[chosen.numpy()]), *even(batch_size))]

    return batches_at


def to_pixels(images: Pictures) -> Float[Tensor, "n 3 h w"]:
    """uint8 pictures to [-1, 1]."""
    return torch.from_numpy(images).float() / 127.5 - 1


def autoencoding(vae: AutoencoderKL) -> Objective[PictureBatch]:
    """The picture's error, and the divergence of its latents from a unit Gaussian.

    Source: Rombach et al. 2022 (arXiv 2112.10752), section 3.1, without its adversarial part.
    """

    def loss(batch: PictureBatch, rng: Generator) -> Float[Tensor, " b"]:
        posterior = vae.encode(batch.pixels).latent_dist
        latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng)
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).flatten(1).mean(1)
        return picture_error(vae.decode(latents).sample, batch.pixels) + KL_WEIGHT * divergence

    return loss


def decoding(
    vae: AutoencoderKL, decode: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b 3 H W"]]
) -> Objective[PictureBatch]:
    """The error alone of pictures that ``decode`` makes of latents.

    The encoder is taken as it is: latents, and all that was trained on them, stay valid.
    """

    def loss(batch: PictureBatch, rng: Generator) -> Float[Tensor, " b"]:
        with torch.no_grad():
            posterior = vae.encode(batch.pixels).latent_dist
            latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng)
        return picture_error(decode(latents), batch.pixels)

    return loss


def decoding_half(vae: AutoencoderKL | VQModel) -> nn.ModuleDict:
    """What of an autoencoder makes pictures of latents."""
    assert vae.post_quant_conv is not None
    return nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})


def picture_error(decoded: Float[Tensor, "b 3 h w"], pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Mean absolute error of each picture, of its pixels and of their 4x4 averages, plus the weighed squared error.

    The averages keep the colours of areas: without them edges and textures, most of the error of a young autoencoder,
    drown them. The square is what the signal-to-noise ratio measures.
    """
    error = decoded - pixels
    fine = (error.abs() + SQUARE_WEIGHT * error.square()).flatten(1).mean(1)
    return fine + COARSE_WEIGHT * avg_pool2d(error, 4).abs().flatten(1).mean(1)


@torch.no_grad()
def standardise(vae: AutoencoderKL, pixels: Float[Tensor, "n 3 h w"]) -> None:
    """Give every latent channel mean 0 and spread 1 on these pictures, changing no decoded picture.

    A pipeline has one scaling factor for all channels, so the change of units is folded into the 1x1 convolutions on
    both sides of the latents.
    """
    assert vae.quant_conv is not None
    assert vae.post_quant_conv is not None
    before, after = vae.quant_conv, vae.post_quant_conv
    assert before.bias is not None
    assert after.bias is not None
    means = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(100)])
    shift, scale = means.mean((0, 2, 3)), means.std((0, 2, 3))
    n = len(scale)
    before.weight.div_(torch.cat([scale, torch.ones_like(scale)]).view(-1, 1, 1, 1))
    before.bias.copy_(torch.cat([(before.bias[:n] - shift) / scale, before.bias[n:] - 2 * scale.log()]))
    after.bias.add_(after.weight[:, :, 0, 0] @ shift)
    after.weight.mul_(scale.view(1, -1, 1, 1))


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: Float[Tensor, "n 3 h w"]) -> float:
    """Peak signal-to-noise ratio in dB of decoded pictures, the mean over pictures."""
    decoded = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pixels.split(50)])
    error = ((decoded.clamp(-1, 1) - pixels) / 2).square().flatten(1).mean(1)
    return float((-10 * error.log10()).mean())
