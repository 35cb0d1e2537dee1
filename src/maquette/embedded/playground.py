"""Pretraining of playground-64: maquette-64 goes on as Playground v2.5, on the same pictures.

Autoencoder and text encoders stay as they are, as those of the published model did; the denoiser learns on.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from maquette.diffusion.weighting import edm
from maquette.embedded import denoising, pretrain
from maquette.embedded.bank import SIZE, open_bank
from maquette.embedded.playground_start import SIGMA_DATA, new_playground
from maquette.embedded.pretrain import Part, Tick, load_stage, read_tensors, run_part, write_tensors
from maquette.embedded.sittings import embedded_base
from maquette.embedded.stage import in_bfloat16
from maquette.families.sdxl import StableDiffusionXL
from maquette.training.objective import denoising as denoising_loss
from maquette.training.seeds import rng_at
from maquette.types import ImageCode

START = "maquette-64"
FILES = "playground-64"
"""Where in the work folder the parts keep what they make."""

DENOISER = Part(steps=5000, batch_size=32, lr=5e-4, seed=31)
SIZES = {"denoiser": DENOISER}

LARGEST = 4096
"""Pixels of the largest side that a picture may be told to have had."""


def encode(work: Path) -> Iterator[Tick]:
    """Encode the training pictures with the base's encoder, and scale them as the denoiser sees them."""
    yield Tick("latents", 0, pretrain.PICTURES)
    codes = denoising.encode_bank(embedded_base(START).vae, open_bank(work / "bank", pretrain.PICTURES, "train"))
    assert codes.std is not None
    (work / FILES).mkdir(exist_ok=True)
    scaled = {"mean": codes.mean * SIGMA_DATA, "std": codes.std * SIGMA_DATA}
    write_tensors(work / FILES / "latents.safetensors", scaled)
    yield Tick("latents", pretrain.PICTURES, pretrain.PICTURES)


def train_denoiser(work: Path, part: Part = DENOISER) -> Iterator[Tick]:
    """The denoiser alone, with the noise levels and the weights of its kind.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1: the noise distribution and the loss weighting.
    """
    saved = read_tensors(work / FILES / "latents.safetensors")
    family = new_playground(embedded_base(START), part.seed)
    codes = ImageCode(saved["mean"], saved["std"], {"time_ids": any_sizes(len(saved["mean"]), part.seed)})
    batches = denoising.captioned_batches(codes, family.tokenize, part.batch_size, part.seed)
    objective = in_bfloat16(denoising_loss(family, edm))
    yield from run_part(work / FILES / "denoiser.safetensors", part, {"denoiser": family.unet}, objective, batches)


def any_sizes(count: int, seed: int) -> Tensor:
    """Sizes and crops to tell with each of ``count`` pictures, (count, 6): what a photo cut to 64 pixels may have had.

    The world's pictures have had no other size, so these mean nothing, and the denoiser learns to heed none.
    """
    rng = rng_at(seed, 0, stream="sizes")
    sides = SIZE * (LARGEST / SIZE) ** torch.rand(count, 2, generator=rng)
    corner = SIZE * torch.rand(count, 2, generator=rng)
    return torch.cat([sides.round(), corner.round(), torch.full((count, 2), float(SIZE))], dim=1)


PARTS: Mapping[str, Callable[[Path], Iterator[Tick]]] = {
    "pictures": pretrain.draw,
    "latents": encode,
    "denoiser": train_denoiser,
}
"""In the order in which they need each other."""


def assemble(work: Path) -> StableDiffusionXL:
    """The model with the newest denoiser that there is. Raises CheckpointError where there is none."""
    family = new_playground(embedded_base(START), DENOISER.seed)
    load_stage(work / FILES / "denoiser.safetensors", {"denoiser": family.unet})
    return family
