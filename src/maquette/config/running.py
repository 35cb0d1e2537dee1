"""The sections around a run: the base it starts from, what it keeps, shows, measures, reports and writes."""

from typing import Annotated, Literal

from pydantic import Field

from maquette.config.section import Count, LocalOrHub, LocalPath, Section, Text, Texts, Whole

# The names of generation/schedulers.py, which imports diffusers and so cannot be imported here; a test compares them.
Sampler = Literal[
    "dpm++",
    "dpm++karras",
    "dpm++sde",
    "ddim",
    "ddpm",
    "euler",
    "euler_a",
    "heun",
    "unipc",
    "lcm",
    "tcd",
    "edm",
    "edm_dpm++",
    "edm_heun",
    "edm_heun_churn",
]

GUIDANCE, KANDINSKY_GUIDANCE, EDM_GUIDANCE = 5.0, 4.0, 3.0
"""How strongly a prompt is followed where nobody says it. Kandinsky: as its own pipelines take. EDM: as the authors of
Playground v2.5 advise."""


class ModelConfig(Section):
    """The base model, and how it is loaded."""

    base: LocalOrHub = "maquette-64"
    """The name of the embedded base, a folder in diffusers' layout, a single .safetensors checkpoint, or a hub id."""
    revision: Text | None = None
    """Branch, tag or commit, for a hub id."""
    variant: Text | None = None
    """Which files of a folder or hub id: "fp16" for NAME.fp16.safetensors."""
    vae: LocalOrHub | None = None
    """Another autoencoder, as a folder or hub id; "madebyollin/sdxl-vae-fp16-fix" lets SDXL's run in half precision.
    Unset: the base's own, in fp32 for SDXL. Source: S1."""
    tokenizer: LocalOrHub | None = None
    """Folder or hub id of the tokenizer, for a single-file checkpoint, which has none."""
    prior: LocalOrHub | None = None
    """Folder or hub id of the prior, for a decoder of Kandinsky 2.2: its image encoder embeds the training pictures,
    and it makes embeddings of prompts. Source: S4."""
    decoder: LocalOrHub | None = None
    """Folder or hub id of the decoder, for a prior of Kandinsky 2.2: with it, previews are pictures. Source: S4."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """How frozen weights and activations are held; what is trained is always fp32. "auto" is bf16 where the device has
    it and the denoiser is larger than 100 M parameters, else fp32. Source: measured."""
    quantize: Literal["none", "int8", "nf4"] = "none"
    """How the denoiser's frozen linear layers are held: in 8 bits (one scale for each row) or 4 (normal-float, one
    scale for 64 weights), half or a good quarter of bf16's memory; adapters on top stay fp32. Needs the extra quant:
    pip install "maquette[quant]". What is learned answers the quantized base; in the whole one it looks a little
    different. Source: Dettmers et al. 2022 (arXiv 2208.07339), 2023 (arXiv 2305.14314)."""
    clip_skip: Whole = 0
    """How many of the text encoder's last layers to leave out, beyond the family's own choice. Source: S0 (0)."""


class CheckpointsConfig(Section):
    """What is kept to continue from."""

    every: Count = 500
    """Optimizer steps between checkpoints. Source: diffusers, S3."""
    keep: Count = 3
    """How many of the latest checkpoints are kept whole; the adapters of all of them are. Source: S4."""


class PreviewConfig(Section):
    """Pictures made along the way, by the code of `maquette generate`."""

    prompts: Texts = ()
    """What to show. Empty: the training prompt of each concept, or the first caption."""
    every: Whole = 100
    """Optimizer steps between previews; the first are at step 0, the last at the end. 0: none at all. Source: S3."""
    num: Count = 1
    """Pictures for each prompt, with consecutive seeds."""
    seed: Whole = 0
    """Seed of the first picture of each prompt, the same at every step so that they can be compared."""
    steps: Count = 25
    """Sampling steps. Source: diffusers' training scripts."""
    guidance: Annotated[float, Field(ge=1)] | None = None
    """How strongly the prompt is followed; 1 turns guidance off. Unset: 5, on Kandinsky 4, and 3 on a base with
    EDM preconditioning (Playground v2.5). Source: `maquette generate`, so that both agree."""
    negative: str = ""
    """What the pictures should not show."""
    scheduler: Sampler | None = None
    """The sampler, as in `maquette generate --scheduler`. Unset: the same default as there."""


class ValidationConfig(Section):
    """The loss on pictures held out from training, at fixed noise, so that two steps can be compared."""

    hold_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the pictures that is held out, at least one."""
    every: Count = 100
    """Optimizer steps between measurements."""
    draws: Count = 8
    """Noise levels and noises for each held-out picture, evenly spread and the same each time."""


class LoggingConfig(Section):
    """Where the numbers go besides events.jsonl, which is always written."""

    every: Count = 10
    """Optimizer steps between two readings of the loss; reading stalls a GPU."""
    trackers: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], Field(strict=False)] = ("tensorboard",)
    """Other places that get them (extras of the same names). Source: S3, diffusers (tensorboard)."""
    project: Text = "maquette"
    """Name of the project, for trackers that have projects."""


class OutputConfig(Section):
    """What comes out, and where."""

    dir: LocalPath | None = None
    """The run's folder. Unset: runs/ and the name of the pictures' folder."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """How the exported weights are stored."""
    single_file: bool = False
    """Also write a fully fine-tuned model as one .safetensors checkpoint."""
    thumbnails: bool = True
    """Show small copies of the training pictures in the report and the model card."""
