"""The sections about what is trained: the denoiser's adapter or all of its weights, the text encoders, new tokens."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from maquette.config.factors import EqualRatesConfig, GaussianConfig, InitConfig, LrRatioConfig
from maquette.config.section import Count, Fraction, LocalPath, Positive, Section, Text, Texts

Targets = Literal["attention", "attention+feed_forward", "attention+feed_forward+convolutions"] | Texts


class _LowRank(Section):
    """What all adapters of low rank share."""

    rank: Count = 16
    """Rank r of the update: capacity and file size grow with it. Source: ours (16); S3 uses 4, S1 8, S2 32."""
    lora_alpha: Positive = Field(default_factory=lambda data: float(data["rank"]))
    """The update is scaled by lora_alpha / rank. Unset: equal to rank, so that the scale is 1. Source: S0, S1, S3."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that is dropped in training: of the inputs of each update; with the kinds loha and lokr, which have no
    inputs of their own, of the rows of each update, each row whole. Source: peft, diffusers (0); S0 uses 0.1."""
    targets: Targets = "attention"
    """Which layers get an update: a named group, or a list of module-name patterns ("to_q", "up_blocks.1.*.to_v").
    Source: S0 to S3 (the four projections of every attention)."""
    blocks: Texts = ()
    """Restrict the targets to these parts of the denoiser ("up_blocks.0.attentions.1"). Empty: all of it. Source:
    B-LoRA (Frenkel et al. 2024, arXiv 2403.14572) trains up_blocks.0.attentions.0 and .1."""
    rank_pattern: Mapping[Text, Count] = {}
    """Other ranks for the layers that match a pattern: {"mid_block" = 32}; of several that match, the last counts.
    Their scale stays the adapter's own lora_alpha / rank; with rslora it is lora_alpha over the root of each layer's
    own rank."""
    start_from: LocalPath | None = None
    """An adapter file of the same kind and shape to continue from."""


class LoraConfig(_LowRank):
    """Low-rank pairs beside frozen weights. Source: Hu et al. 2021 (arXiv 2106.09685)."""

    kind: Literal["lora"] = "lora"
    bank: bool = False
    """An adapter of its own for each of [[concepts]], all of them in one forward pass of the base: as many runs for
    little more than one of their batch. training.batch_size, steps and seed are those of each."""
    rslora: bool = False
    """Scale by lora_alpha / sqrt(rank) instead, so that high ranks learn as fast. Source: Kalajdzievski 2023 (arXiv
    2312.03732)."""
    init: InitConfig = GaussianConfig()
    lr_ratio: LrRatioConfig = EqualRatesConfig()


class DoraConfig(_LowRank):
    """LoRA on the direction of each weight, with its magnitude learned apart. Source: Liu et al. 2024 (2402.09353)."""

    kind: Literal["dora"] = "dora"
    rslora: bool = False
    """Scale by lora_alpha / sqrt(rank) instead. Source: Kalajdzievski 2023 (arXiv 2312.03732)."""
    init: InitConfig = GaussianConfig()
    lr_ratio: LrRatioConfig = EqualRatesConfig()


class LohaConfig(_LowRank):
    """The elementwise product of two low-rank updates. Source: Hyeon-Woo et al. 2021 (arXiv 2108.06098); LyCORIS."""

    kind: Literal["loha"] = "loha"


class LokrConfig(_LowRank):
    """A Kronecker product of small matrices. Source: Yeh et al. 2023 (arXiv 2309.14859); LyCORIS."""

    kind: Literal["lokr"] = "lokr"
    factor: Annotated[int, Field(ge=-1)] = -1
    """Size of the first factor; -1 takes the most even split. Source: LyCORIS, peft (-1)."""
    decompose_both: bool = False
    """Make the first factor low-rank as well. Source: LyCORIS, peft (false)."""


class FullConfig(Section):
    """All weights of the denoiser. Source: S3 (DreamBooth)."""

    kind: Literal["full"] = "full"


class NoAdapterConfig(Section):
    """The denoiser stays as it is: textual inversion, with a section [tokens]. Source: Gal et al. 2022 (2208.01618)."""

    kind: Literal["none"] = "none"


LowRankConfig = LoraConfig | DoraConfig | LohaConfig | LokrConfig
"""The kinds that put small factors beside the denoiser's weights."""

AdapterConfig = Annotated[LowRankConfig | FullConfig | NoAdapterConfig, Field(discriminator="kind")]


class TextEncoderConfig(Section):
    """Whether the text encoders learn too. Every text encoder of the base is treated alike."""

    train: Literal["none", "lora", "full"] = "none"
    """Nothing; low-rank updates of the adapter's kind on their attention; or all weights, with adapter.kind = "full".
    Source: S1, S3 (none)."""
    lr: Positive | None = None
    """Their own learning rate. Unset: the optimizer's. Source: S1 trains them at half the denoiser's rate (5e-5)."""
    rank: Count | None = None
    """Rank of their updates. Unset: adapter.rank."""
    lora_alpha: Positive | None = None
    """Scale of their updates, over their rank. Unset: as adapter.lora_alpha relates to adapter.rank."""
    targets: Texts | None = None
    """Patterns of the layers that get an update, as in adapter.targets. Unset: all four projections of each attention
    (S1, S2). Source: S0 leaves the outputs out (["q_proj", "k_proj", "v_proj"])."""
    stop: Annotated[float, Field(gt=0, le=1)] | None = None
    """Freeze them after this share of the run. Unset: 1. Source: diffusers (train_text_encoder_frac=1.0)."""
    stop_step: Count | None = None
    """The same as a step of the optimizer; a run keeps it, so that more steps on --resume do not move it."""


class TokensConfig(Section):
    """New tokens in every text encoder, learned as rows of their own behind the frozen table of tokens.

    With an adapter this is pivotal tuning, without one (adapter.kind = "none") textual inversion. Source: Gal et al.
    2022 (arXiv 2208.01618); S1.
    """

    placeholders: Mapping[Text, Count] = {"TOK": 2}
    """Words of captions and prompts, and how many new tokens each stands for: "a photo of TOK" is read as "a photo of
    <s0><s1>". Only the word itself is replaced, in these very capitals. Source: S1 (TOK, 2)."""
    init: Literal["random", "mean", "word"] = "random"
    """How the rows start: normal with the spread of the whole table, as the mean of its rows, or as the rows of a word
    that is near. Source: S1 (random); Gal et al. 2022 (word)."""
    words: Mapping[Text, Text] = {}
    """With init = "word": what each placeholder starts as ({TOK = "mug"}). A word of fewer tokens is repeated."""
    lr: Positive | None = None
    """Their own learning rate. Unset: three times the denoiser's (S1: 3e-4 beside 1e-4); with Prodigy, or without an
    adapter, the optimizer's."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the rows; 0 is none. Unset: the optimizer's. Source: diffusers."""
    stop: Annotated[float, Field(gt=0, le=1)] | None = None
    """Freeze the rows after this share of the run, while the adapter goes on. Unset: 0.5 with an adapter (S1), 1
    without one."""
    stop_step: Count | None = None
    """The same as a step of the optimizer; a run keeps it, so that more steps on --resume do not move it."""
    retraction: Fraction = 0.0
    """After each step that moves them, the rows of an encoder are scaled by (spread of the table / their
    spread)**retraction. 0: off. Source: diffusers (0.1, which it goes on with after they are frozen)."""
