"""The sections about the two factors of an update: how they start, and how fast each of them learns."""

from typing import Annotated, Literal

from pydantic import Field

from maquette.config.section import Count, Positive, Section


class GaussianConfig(Section):
    """The down matrix from N(0, 1/rank^2), the up matrix 0. Source: S0, S2, diffusers."""

    kind: Literal["gaussian"] = "gaussian"


class KaimingConfig(Section):
    """The down matrix uniform within 1 / sqrt(inputs), the up matrix 0. Source: Hu et al. 2021, peft."""

    kind: Literal["kaiming"] = "kaiming"


class LoraGaConfig(Section):
    """Both matrices from the gradient of the base on the run's own pictures, so that the first step is the best one
    that their rank allows. The file has twice the rank. Source: Wang et al. 2024 (arXiv 2407.05000), its "stable" scale
    and the singular vectors that its code takes."""

    kind: Literal["lora_ga"] = "lora_ga"
    batches: Count = 64
    """Forward and backward passes that the gradient is averaged over. Source: the authors' code (64)."""
    gamma: Positive = 16.0
    """Divides the starting values: both matrices are orthonormal, times outputs^(1/4) / sqrt(gamma). Source: the
    authors' configurations (16)."""
    narrow: Literal["error", "gaussian"] = "error"
    """What to do with layers that have fewer inputs or outputs than twice the rank, which their gradient cannot fill:
    refuse them, or start these as gaussian does, with a warning. Source: ours (error)."""


class PissaConfig(Section):
    """Both matrices from the largest singular values of the base's weight. Convolutions start as gaussian does. The
    file has twice the rank. Source: Meng et al. 2024 (arXiv 2404.02948), peft."""

    kind: Literal["pissa"] = "pissa"


class OloraConfig(Section):
    """Both matrices from the QR decomposition of the base's weight. Convolutions start as gaussian does. The file has
    twice the rank. Source: Buyukakyuz 2024 (arXiv 2406.01775), peft."""

    kind: Literal["olora"] = "olora"


class EvaConfig(Section):
    """The down matrix from the directions in which the layer's inputs vary most, on the run's own pictures; the up
    matrix 0. Convolutions start as gaussian does. Source: Paischer et al. 2024 (arXiv 2410.07170), every layer keeping
    its rank (their rho = 1)."""

    kind: Literal["eva"] = "eva"
    batches: Count = 64
    """Forward passes that the inputs are taken from. Source: ours (64)."""


InitConfig = Annotated[
    GaussianConfig | KaimingConfig | LoraGaConfig | PissaConfig | OloraConfig | EvaConfig, Field(discriminator="kind")
]
Displaced = LoraGaConfig | PissaConfig | OloraConfig
"""Starts at which the product of the matrices is not 0, so that its starting value is subtracted ever after."""


class EqualRatesConfig(Section):
    """One learning rate for both matrices. Source: Hu et al. 2021, S1, S2, S3."""

    kind: Literal["off"] = "off"


class FixedRatioConfig(Section):
    """LoRA+: the up matrices learn faster by a fixed ratio. Source: Hayou et al. 2024 (arXiv 2402.12354)."""

    kind: Literal["fixed"] = "fixed"
    ratio: Positive = 16.0
    """The up matrix's rate over the down matrix's. Source: the paper (16)."""


class AdaptiveRatioConfig(Section):
    """Every layer's up matrix learns faster by gamma * sqrt(inputs / rank). Source: S0; Su 2024
    (spaces.ac.cn/archives/10001)."""

    kind: Literal["adaptive"] = "adaptive"
    gamma: Positive = 1.0
    """Multiplies the ratio. Source: S0's code (1)."""
    clamp: bool = True
    """Let no ratio be below 1, where the rank exceeds the layer's inputs. Source: S0."""
    target: Literal["B", "A"] = "B"
    """Which matrix is faster: B, the up matrix, as S0's text has it; or A, the down matrix, as its code did, with the
    layer's inputs (or the rank, if that is larger) rounded up to 320, 640, 1024 or 1280. Source: S0's text."""


LrRatioConfig = Annotated[EqualRatesConfig | FixedRatioConfig | AdaptiveRatioConfig, Field(discriminator="kind")]
