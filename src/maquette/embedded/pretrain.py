"""Pretraining of maquette-64, part by part; every part resumes from its own file in the work folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from maquette.adapters.base import ParamGroup, Trainable
from maquette.adapters.combined import Combined
from maquette.adapters.full import Full, unfreeze
from maquette.diffusion.weighting import min_snr
from maquette.embedded import autoencoding, denoising, models
from maquette.embedded.bank import SHARD, Pictures, draw_bank, open_bank
from maquette.embedded.sittings import carry_over, earlier_base, seed_of_sitting
from maquette.embedded.stage import in_bfloat16, run_stage
from maquette.embedded.tokenizer import new_tokenizer
from maquette.errors import CheckpointError
from maquette.families.sd import StableDiffusion
from maquette.runs.files import replacing
from maquette.training.loop import Weighted
from maquette.training.objective import Objective
from maquette.training.objective import denoising as denoising_loss
from maquette.types import ImageCode

B = TypeVar("B", bound=Weighted)

PICTURES = 40_000


@dataclass(frozen=True, slots=True)
class Part:
    """The size of one part: optimiser steps, pictures in each, peak learning rate, and the seed of all its draws."""

    steps: int
    batch_size: int
    lr: float
    seed: int


AUTOENCODER = Part(steps=3200, batch_size=16, lr=2e-3, seed=1)
DENOISER = Part(steps=7000, batch_size=32, lr=8e-4, seed=2)
DECODER = Part(steps=2400, batch_size=16, lr=1e-3, seed=3)
SIZES = {
    "autoencoder": AUTOENCODER,
    "denoiser": DENOISER,
    "decoder": DECODER,
}


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a part is: done of total, in its own units, and its last loss where it has one."""

    part: str
    done: int
    total: int
    loss: float | None = None


def draw(work: Path, workers: int = 2) -> Iterator[Tick]:
    """Render the training pictures."""
    for done in draw_bank(work / "bank", PICTURES, "train", workers):
        yield Tick("pictures", done, PICTURES)


def train_autoencoder(work: Path, part: Part = AUTOENCODER) -> Iterator[Tick]:
    """Encoder and decoder together; then latents of equal spread.

    The result is autoencoder-done.safetensors. Its latents differ from those of an earlier base that it goes on from:
    the denoiser must learn on as well.
    """
    part = of_sitting(part, work)
    bank, vae = _bank(work), models.new_autoencoder(part.seed)
    if (earlier := earlier_base(work)) is not None:
        carry_over(vae, earlier.vae)
    batches = autoencoding.picture_batches(bank, part.batch_size, part.seed)
    objective = in_bfloat16(autoencoding.autoencoding(vae))
    yield from run_part(work / "autoencoder.safetensors", part, {"autoencoder": vae}, objective, batches)
    autoencoding.standardise(vae, autoencoding.to_pixels(bank[:SHARD]))
    write_tensors(work / "autoencoder-done.safetensors", vae.state_dict())


def encode(work: Path) -> Iterator[Tick]:
    """Encode the training pictures with the finished encoder."""
    yield Tick("latents", 0, PICTURES)
    codes = denoising.encode_bank(load_autoencoder(work), _bank(work))
    assert codes.std is not None
    write_tensors(work / "latents.safetensors", {"mean": codes.mean, "std": codes.std})
    yield Tick("latents", PICTURES, PICTURES)


def train_denoiser(work: Path, part: Part = DENOISER) -> Iterator[Tick]:
    """Denoiser and text encoder together, from the captions and latents of the training pictures.

    The text encoder learns with the denoiser, not by contrast with pictures first: in a small world the denoising loss
    alone teaches it what matters.
    """
    saved = read_tensors(work / "latents.safetensors")
    part = of_sitting(part, work)
    family = new_base(load_autoencoder(work), part.seed)
    if (earlier := earlier_base(work)) is not None:
        carry_over(family.unet, earlier.unet)
        carry_over(family.text_encoder, earlier.text_encoder)
    codes = ImageCode(saved["mean"], saved["std"], {})
    batches = denoising.captioned_batches(codes, family.tokenize, part.batch_size, part.seed)
    learning = {"denoiser": family.unet, "text_encoder": family.text_encoder}
    objective = in_bfloat16(denoising_loss(family, min_snr(5.0)))
    yield from run_part(work / "denoiser.safetensors", part, learning, objective, batches)


def train_decoder(work: Path, part: Part = DECODER) -> Iterator[Tick]:
    """The decoder alone, sharper than the first part left it; latents and denoiser stay as they are."""
    vae, bank = load_autoencoder(work), _bank(work)
    part = of_sitting(part, work)
    objective = in_bfloat16(autoencoding.decoding(vae, lambda latents: vae.decode(latents).sample))
    batches = autoencoding.picture_batches(bank, part.batch_size, part.seed)
    decoder = autoencoding.decoding_half(vae)
    yield from run_part(work / "decoder.safetensors", part, {"decoder": decoder}, objective, batches)


PARTS: Mapping[str, Callable[[Path], Iterator[Tick]]] = {
    "pictures": draw,
    "autoencoder": train_autoencoder,
    "latents": encode,
    "denoiser": train_denoiser,
    "decoder": train_decoder,
}
"""In the order in which they need each other; the decoder needs only the autoencoder, so it can run beside the denoiser
in a process of its own."""


def assemble(work: Path) -> StableDiffusion:
    """The base model from the files of the parts that there are: the newest decoder, the newest denoiser."""
    vae = load_autoencoder(work)
    family = new_base(vae, DENOISER.seed)
    load_stage(work / "denoiser.safetensors", {"denoiser": family.unet, "text_encoder": family.text_encoder})
    if (work / "decoder.safetensors").exists():
        load_stage(work / "decoder.safetensors", {"decoder": autoencoding.decoding_half(vae)})
    return family


def new_base(vae: AutoencoderKL, seed: int) -> StableDiffusion:
    """An untrained denoiser and text encoder around an autoencoder."""
    tokenizer = new_tokenizer()
    return StableDiffusion(
        unet=models.new_denoiser(seed),
        vae=vae,
        text_encoder=models.new_text_encoder(seed, tokenizer),
        tokenizer=tokenizer,
        scheduler=models.new_scheduler(),
    )


def of_sitting(part: Part, work: Path) -> Part:
    """The part with the seed of this sitting."""
    return replace(part, seed=seed_of_sitting(part.seed, work))


def run_part(
    file: Path,
    part: Part,
    modules: Mapping[str, nn.Module],
    objective: Objective[B],
    batches_at: Callable[[int], Sequence[B]],
) -> Iterator[Tick]:
    """Train all parameters of the modules, with a file to go on from; ticks are named after it."""
    trainable = whole(modules, part.lr)
    for stats in run_stage(file, trainable, objective, batches_at, steps=part.steps, seed=part.seed):
        yield Tick(file.stem, stats.step, part.steps, stats.loss.item())


def whole(modules: Mapping[str, nn.Module], lr: float) -> Trainable:
    """All parameters of the modules, with AdamW's usual decay."""
    parts: list[Full] = []
    for name, module in modules.items():
        params = unfreeze(module)
        parts.append(Full(name, params, ParamGroup(name, list(params.values()), lr, weight_decay=0.01)))
    return Combined(parts)


def load_autoencoder(work: Path) -> AutoencoderKL:
    """The finished autoencoder, frozen: this sitting's, or the one of the base that it started from."""
    vae, file = models.new_autoencoder(AUTOENCODER.seed), work / "autoencoder-done.safetensors"
    if file.exists():
        vae.load_state_dict(load_file(file))
    elif (earlier := earlier_base(work)) is not None:
        vae.load_state_dict(earlier.vae.state_dict())
    else:
        raise CheckpointError(f"{file}: not there yet; finish the part that writes it first.")
    vae.requires_grad_(requires_grad=False)
    return vae


def write_tensors(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file whole or not at all."""
    with replacing(file) as temporary:
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, temporary)


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """What a part wrote. Raises CheckpointError where it has written nothing yet."""
    if not file.exists():
        raise CheckpointError(f"{file}: not there yet; run the part that writes it first.")
    return load_file(file)


def load_stage(file: Path, modules: Mapping[str, nn.Module]) -> None:
    """Give modules the weights that a part has come to. Raises CheckpointError where it has not begun."""
    prefix = "weights/"
    saved = {name.removeprefix(prefix): value for name, value in read_tensors(file).items() if name.startswith(prefix)}
    whole(modules, lr=0.0).load_state_dict(saved)


def _bank(work: Path) -> Pictures:
    return open_bank(work / "bank", PICTURES, "train")
