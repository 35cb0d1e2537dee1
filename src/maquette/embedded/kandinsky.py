"""Pretraining of kandinsky-64: a small Kandinsky 2.2, both halves, from maquette-64 and on the same pictures.

The two halves meet in the embeddings of a CLIP, so that comes first; its text encoder is maquette-64's, learning on.
Latents are maquette-64's, so that its denoiser's convolutions are of use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.transformers.prior_transformer import PriorTransformer
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.weighting import min_snr
from maquette.embedded import kandinsky_models as models
from maquette.embedded import pretrain
from maquette.embedded.autoencoding import decoding, decoding_half, picture_batches, to_pixels
from maquette.embedded.bank import Pictures, open_bank
from maquette.embedded.denoising import UNCONDITIONAL, captioned_batches, encode_bank
from maquette.embedded.judging import Temperature
from maquette.embedded.kandinsky_clip import Clip, pair_batches, pairing
from maquette.embedded.kandinsky_movq import new_movq
from maquette.embedded.pretrain import Part, Tick, load_stage, read_tensors, run_part
from maquette.embedded.sittings import embedded_base
from maquette.embedded.stage import in_bfloat16
from maquette.families import text
from maquette.families.kandinsky import vision
from maquette.families.kandinsky.decoder import KandinskyDecoder
from maquette.families.kandinsky.prior import KandinskyPrior
from maquette.families.sd import StableDiffusion
from maquette.training.objective import denoising
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch

F = TypeVar("F", KandinskyDecoder, KandinskyPrior)

START = "maquette-64"
FILES = "kandinsky-64"
"""Where in the work folder the parts keep what they make."""

CLIP = Part(steps=2500, batch_size=64, lr=1e-3, seed=41)
MOVQ = Part(steps=600, batch_size=16, lr=2e-3, seed=42)
DECODER = Part(steps=3500, batch_size=32, lr=8e-4, seed=43)
PRIOR = Part(steps=1200, batch_size=64, lr=1e-3, seed=44)
SIZES = {"clip": CLIP, "movq": MOVQ, "decoder": DECODER, "prior": PRIOR}


def train_clip(work: Path, part: Part = CLIP) -> Iterator[Tick]:
    """Image and text encoder together."""
    base = embedded_base(START)
    clip = new_clip(base)
    batches = pair_batches(_bank(work), lambda words: text.tokenize(base.tokenizer, words), part.batch_size, part.seed)
    yield from run_part(_file(work, "clip"), part, clip.modules, in_bfloat16(pairing(clip)), batches)


def train_movq(work: Path, part: Part = MOVQ) -> Iterator[Tick]:
    """The MoVQ's decoder; its encoder makes the latents that it is to make from the start."""
    vae = embedded_base(START).vae
    movq = new_movq(MOVQ.seed, vae)
    batches = picture_batches(_bank(work), part.batch_size, part.seed)
    objective = in_bfloat16(decoding(vae, lambda latents: movq.decode(latents, force_not_quantize=True).sample))
    yield from run_part(_file(work, "movq"), part, {"decoding": decoding_half(movq)}, objective, batches)


def encode(work: Path) -> Iterator[Tick]:
    """Latents and embeddings of the training pictures, made again only where the CLIP has gone on."""
    clip, made, total = _file(work, "clip"), _file(work, "codes"), pretrain.PICTURES
    yield Tick("codes", 0, total)
    if not made.exists() or not clip.exists() or made.stat().st_mtime < clip.stat().st_mtime:
        prior, bank, embeds = around(work, models.new_prior(PRIOR.seed)), _bank(work), []
        for first in range(0, total, 200):
            pixels = to_pixels(bank[first : first + 200])
            with torch.no_grad():
                embeds.append(vision.embed(prior.image_encoder, prior.image_processor, pixels))
            yield Tick("codes", first + len(pixels), total)
        latents = encode_bank(embedded_base(START).vae, bank).mean  # the MoVQ's, made with half the work
        pretrain.write_tensors(made, {"latents": latents, "image_embeds": torch.cat(embeds)})
    yield Tick("codes", total, total)


def train_decoder(work: Path, part: Part = DECODER) -> Iterator[Tick]:
    """The decoder's denoiser alone, told the embedding of the very picture that it is to make."""
    family, saved = start_decoder(work), read_tensors(_file(work, "codes"))
    codes = ImageCode(saved["latents"], None, {"image_embeds": saved["image_embeds"]})
    batches = embedded_batches(codes, family.prior.pipeline().get_zero_embed(), part.batch_size, part.seed)
    objective = in_bfloat16(denoising(family, min_snr(5.0)))
    yield from run_part(_file(work, "decoder"), part, {"denoiser": family.unet}, objective, batches)


def embedded_batches(
    codes: ImageCode, nothing: Float[Tensor, "1 d"], batch_size: int, seed: int
) -> Callable[[int], Sequence[TrainBatch]]:
    """Step -> one batch, in which one embedding in ten gives way to ``nothing``, which guidance leads away from."""
    pictures_at = captioned_batches(codes, lambda _captions: {}, batch_size, seed)

    def batches_at(step: int) -> Sequence[TrainBatch]:
        (batch,) = pictures_at(step)
        untold = torch.rand(batch_size, 1, generator=rng_at(seed, step, stream="untold")) < UNCONDITIONAL
        embeds = torch.where(untold, nothing, batch.code.cond["image_embeds"])
        return [replace(batch, code=replace(batch.code, cond={"image_embeds": embeds}))]

    return batches_at


def train_prior(work: Path, part: Part = PRIOR) -> Iterator[Tick]:
    """The prior alone: from a caption, worded afresh, to the embedding of its picture."""
    embeds = read_tensors(_file(work, "codes"))["image_embeds"]
    family = around(work, models.new_prior(PRIOR.seed, embeds))
    codes = ImageCode(family.spread(embeds), None, {})
    batches = captioned_batches(codes, family.tokenize, part.batch_size, part.seed)
    objective = in_bfloat16(denoising(family, min_snr(5.0)))
    yield from run_part(_file(work, "prior"), part, {"denoiser": family.prior}, objective, batches)


PARTS: Mapping[str, Callable[[Path], Iterator[Tick]]] = {
    "pictures": pretrain.draw,
    "clip": train_clip,
    "movq": train_movq,
    "codes": encode,
    "decoder": train_decoder,
    "prior": train_prior,
}
"""In the order in which they need each other; clip needs the pictures alone, and so does movq."""


def assemble(work: Path) -> Mapping[str, KandinskyDecoder | KandinskyPrior]:
    """Both halves, with the newest of every part."""
    transformer = models.new_prior(PRIOR.seed)
    load_stage(_file(work, "prior"), {"denoiser": transformer})
    prior = around(work, transformer)
    decoder = start_decoder(work, prior)
    load_stage(_file(work, "decoder"), {"denoiser": decoder.unet})
    load_stage(_file(work, "movq"), {"decoding": decoding_half(decoder.movq)})
    return {"decoder": decoder, "prior": prior}


def new_clip(base: StableDiffusion) -> Clip:
    """The encoders before they are trained."""
    texts = models.new_text_encoder(CLIP.seed, base.text_encoder)
    return Clip(models.new_image_encoder(CLIP.seed), texts, Temperature())


def around(work: Path, transformer: PriorTransformer) -> KandinskyPrior:
    """A prior of a denoiser and the trained encoders, all frozen. Raises CheckpointError where those have not begun."""
    base = embedded_base(START)
    clip = new_clip(base)
    load_stage(_file(work, "clip"), clip.modules)
    family = KandinskyPrior(
        prior=transformer,
        image_encoder=clip.images,
        image_processor=models.new_image_processor(),
        text_encoder=clip.texts,
        tokenizer=base.tokenizer,
        scheduler=models.new_prior_scheduler(),
    )
    return _frozen(family)


def start_decoder(work: Path, prior: KandinskyPrior | None = None) -> KandinskyDecoder:
    """The decoder as its training finds it, all frozen; prior: an untrained one where there is none."""
    base = embedded_base(START)
    family = KandinskyDecoder(
        unet=models.new_denoiser(DECODER.seed, base.unet),
        movq=new_movq(MOVQ.seed, base.vae),
        scheduler=models.new_decoder_scheduler(),
        prior=prior or around(work, models.new_prior(PRIOR.seed)),
    )
    return _frozen(family)


def _frozen(family: F) -> F:
    for module in family.modules.values():
        module.requires_grad_(requires_grad=False)
    return family


def _bank(work: Path) -> Pictures:
    return open_bank(work / "bank", pretrain.PICTURES, "train")


def _file(work: Path, part: str) -> Path:
    """Where a part keeps what it makes."""
    (work / FILES).mkdir(exist_ok=True)
    return work / FILES / f"{part}.safetensors"
