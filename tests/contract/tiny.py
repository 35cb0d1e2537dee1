"""Tiny checkpoints with random weights, one of each kind that the families load, as diffusers folders and in memory."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor

from maquette.families.base import Family
from maquette.families.kandinsky.decoder import KandinskyDecoder
from maquette.families.kandinsky.prior import KandinskyPrior
from maquette.families.load import load_family
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL

SIZE = 16
"""Pixels that the tiny models are trained at, in each direction."""

WORDS = ("a", "photo", "of", "sks", "dog", "cat", "red", "on", "the", "beach")


def write_vocabulary(folder: Path) -> Path:
    """CLIP's two vocabulary files with the bytes' letters and a few words, each word one token."""
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    merges, pieces = [], []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            pieces.append(parts[0])
    vocabulary = list(dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters), *pieces]))
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    rules = [f"{left} {right}" for left, right in dict.fromkeys(merges)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *rules, ""]))
    return folder


@lru_cache
def tokenizer(pad_token: str = "<|endoftext|>", length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer of the tiny vocabulary."""
    with TemporaryDirectory() as folder:
        write_vocabulary(Path(folder))
        return CLIPTokenizer.from_pretrained(folder, model_max_length=length, pad_token=pad_token)


def unet(seed: int = 0, **settings: object) -> UNet2DConditionModel:
    """Two levels, attention at the lower one."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        **{
            "sample_size": SIZE // 2,
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "cross_attention_dim": 32,
            "attention_head_dim": 4,
            "norm_num_groups": 4,
            **settings,
        }
    ).eval()


def vae(seed: int = 1, **settings: object) -> AutoencoderKL:
    """Two pixels a position; with attention in the middle, as the real ones."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        **{
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "sample_size": SIZE,
            "force_upcast": False,
            **settings,
        }
    ).eval()


def text_config(words: CLIPTokenizer, **settings: object) -> CLIPTextConfig:
    """Three layers of 32 features."""
    return CLIPTextConfig(
        **{
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 77,
            "projection_dim": 24,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            **settings,
        }
    )


def text_encoder(words: CLIPTokenizer, seed: int = 2, **settings: object) -> CLIPTextModel:
    """Stable Diffusion's text encoder."""
    torch.manual_seed(seed)
    return CLIPTextModel(text_config(words, **settings)).eval()


def ddim(**settings: object) -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    beta = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**{**beta, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **settings})


def sd1() -> StableDiffusion:
    """Epsilon prediction, OpenAI's text encoder."""
    words = tokenizer()
    return StableDiffusion(unet=unet(), vae=vae(), text_encoder=text_encoder(words), tokenizer=words, scheduler=ddim())


def sd2_v() -> StableDiffusion:
    """v prediction, OpenCLIP's text encoder, padding with "!", linear projections."""
    words = tokenizer("!")
    return StableDiffusion(
        unet=unet(use_linear_projection=True, attention_head_dim=(4, 8)),
        vae=vae(),
        text_encoder=text_encoder(words, hidden_act="gelu"),
        tokenizer=words,
        scheduler=ddim(prediction_type="v_prediction"),
    )


def sdxl() -> StableDiffusionXL:
    """Two text encoders, time ids, no attention at the upper level, transformers of several blocks."""
    words, words_2 = tokenizer(), tokenizer("!")
    torch.manual_seed(3)
    second = CLIPTextModelWithProjection(text_config(words_2, hidden_size=40, hidden_act="gelu")).eval()
    extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    return StableDiffusionXL(
        unet=unet(
            cross_attention_dim=32 + 40,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=6 * 8 + 24,
            **extra,
        ),
        vae=vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_encoder(words),
        text_encoder_2=second,
        tokenizer=words,
        tokenizer_2=words_2,
        scheduler=ddim(),
    )


def playground() -> StableDiffusionXL:
    """SDXL's architecture with an EDM scheduler and latents normalised by channel."""
    base = sdxl()
    return StableDiffusionXL(
        unet=base.unet,
        vae=vae(
            scaling_factor=0.5,
            latents_mean=[-1.6574, 1.886, -1.383, 2.5155],
            latents_std=[8.4927, 5.9022, 6.5498, 5.2299],
            force_upcast=True,
        ),
        text_encoder=base.text_encoder,
        text_encoder_2=base.text_encoder_2,
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer_2,
        scheduler=EDMDPMSolverMultistepScheduler(sigma_data=0.5),
    )


@lru_cache
def image_processor(side: int = SIZE) -> CLIPImageProcessor:
    """CLIP's preparation of pictures, at the tiny size."""
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def image_encoder(width: int = 24, seed: int = 5) -> CLIPVisionModelWithProjection:
    """Two layers over patches of eight pixels."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        projection_dim=width,
    )
    return CLIPVisionModelWithProjection(config).eval()


def kandinsky_prior() -> KandinskyPrior:
    """x0 prediction over vectors of 24 numbers, normalised by a mean and a deviation that are not 0 and 1."""
    words = tokenizer("!")
    torch.manual_seed(6)
    encoder = CLIPTextModelWithProjection(text_config(words, hidden_size=24, hidden_act="gelu")).eval()
    prior = PriorTransformer(num_attention_heads=4, attention_head_dim=8, num_layers=2, embedding_dim=24).eval()
    with torch.no_grad():
        prior.clip_mean.normal_()
        prior.clip_std.uniform_(0.5, 2)
        prior.positional_embedding.normal_(std=0.1)
        prior.prd_embedding.normal_(std=0.1)
    return KandinskyPrior(
        prior=prior,
        image_encoder=image_encoder(),
        image_processor=image_processor(),
        text_encoder=encoder,
        tokenizer=words,
        scheduler=UnCLIPScheduler(prediction_type="sample", clip_sample=True, clip_sample_range=5.0),
    )


def kandinsky_decoder() -> KandinskyDecoder:
    """Attention without transformers, residual blocks that shrink, a learned variance, and a MoVQ."""
    denoiser = unet(
        seed=6,
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        encoder_hid_dim=24,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
    )
    torch.manual_seed(7)
    movq = VQModel(
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(32, 32),  # its spatial norms have groups of 32
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_num_groups=4,
        norm_type="spatial",
    ).eval()
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, steps_offset=1, clip_sample=False, variance_type="learned_range"
    )
    return KandinskyDecoder(denoiser, movq, scheduler, kandinsky_prior())


def combined(family: KandinskyDecoder, scheduler: SchedulerMixin | None = None) -> KandinskyV22CombinedPipeline:
    """diffusers' own pipeline over a decoder and the prior beside it, in silence; scheduler: None is the decoder's."""
    prior = family.prior.pipeline()
    theirs = KandinskyV22CombinedPipeline(
        unet=family.unet,
        scheduler=scheduler or family.scheduler,
        movq=family.movq,
        prior_prior=prior.prior,
        prior_image_encoder=prior.image_encoder,
        prior_text_encoder=prior.text_encoder,
        prior_tokenizer=prior.tokenizer,
        prior_scheduler=prior.scheduler,
        prior_image_processor=prior.image_processor,
    )
    for pipeline in (theirs, theirs.prior_pipe, theirs.decoder_pipe):
        pipeline.set_progress_bar_config(disable=True)
    return theirs


RECIPES: dict[str, Callable[[], StableDiffusion | StableDiffusionXL | KandinskyPrior | KandinskyDecoder]] = {
    "sd1": sd1,
    "sd2-v": sd2_v,
    "sdxl": sdxl,
    "playground": playground,
    "kandinsky-prior": kandinsky_prior,
    "kandinsky-decoder": kandinsky_decoder,
}

STABLE_DIFFUSION = ("sd1", "sd2-v", "sdxl", "playground")
"""Those that one pipeline makes pictures with, and that single files hold."""


def save(kind: str, folder: Path) -> Path:
    """One of the tiny checkpoints as a diffusers folder, saved by diffusers itself."""
    RECIPES[kind]().pipeline().save_pretrained(folder)
    return folder


def load(kind: str, folder: Path) -> Family:
    """One of the tiny checkpoints through a folder, with the prior that a decoder needs beside it."""
    prior = str(save("kandinsky-prior", folder / "prior")) if kind == "kandinsky-decoder" else None
    return load_family(save(kind, folder / kind), prior=prior)
