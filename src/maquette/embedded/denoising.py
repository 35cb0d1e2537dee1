"""Pretraining's second part: denoiser and text encoder together, on encoded pictures and freshly worded captions."""

from collections.abc import Callable, Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from maquette.embedded.autoencoding import to_pixels
from maquette.embedded.bank import Pictures
from maquette.embedded.batches import even, in_rounds
from maquette.embedded.captions import caption
from maquette.embedded.keys import rng_for
from maquette.embedded.scene import scene_at
from maquette.types import ImageCode, Tokens, TrainBatch

UNCONDITIONAL = 0.1
"""Share of empty captions, which classifier-free guidance needs. Source: Ho & Salimans 2022 (arXiv 2207.12598)."""


@torch.no_grad()
def encode_bank(vae: AutoencoderKL, bank: Pictures) -> ImageCode:
    """Every picture's latent distribution, in fp16: half the memory, and finer than the distribution's own spread."""
    means, stds = [], []
    for start in range(0, len(bank), 200):
        posterior = vae.encode(to_pixels(bank[start : start + 200])).latent_dist
        means.append(posterior.mean.half().contiguous())
        stds.append(posterior.std.half().contiguous())
    return ImageCode(torch.cat(means), torch.cat(stds), {})


def caption_at(key: int, seed: int, step: int) -> str:
    """Training scene ``key`` in words drawn afresh for this step, or nothing one time in ten."""
    rng = rng_for("caption", seed, step, key)
    return "" if rng.random() < UNCONDITIONAL else caption(scene_at(key, "train"), rng)


def captioned_batches(
    codes: ImageCode, tokenize: Callable[[Sequence[str]], Tokens], batch_size: int, seed: int
) -> Callable[[int], Sequence[TrainBatch]]:
    """Step -> one batch of the bank, every picture once before any comes again."""
    total = codes.mean.shape[0]

    def batches_at(step: int) -> Sequence[TrainBatch]:
        chosen = in_rounds(total, batch_size, seed, step)
        mean, std = codes.mean[chosen].float(), None if codes.std is None else codes.std[chosen].float()
        told = {name: value[chosen] for name, value in codes.cond.items()}
        tokens = tokenize([caption_at(key, seed, step) for key in chosen.tolist()])
        return [TrainBatch(ImageCode(mean, std, told), tokens, *even(batch_size))]

    return batches_at
