"""The sections about learning: the optimizer, its learning rate over time, and the run itself."""

from typing import Annotated, Literal

from pydantic import Field

from maquette.config.section import Count, Positive, Section, Whole

Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Beta, Beta], Field(strict=False)]
Decay = Annotated[float, Field(ge=0)]


class AdamWConfig(Section):
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2017 (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive | None = None
    """Learning rate. Unset: 1e-4 for adapters (S1, S2, S3), 5e-6 for full fine-tuning (S3)."""
    betas: Betas = (0.9, 0.999)
    """Decay of the two moments per step. Source: diffusers, S3."""
    eps: Positive = 1e-8
    """Added to the denominator. Source: diffusers, S3."""
    weight_decay: Decay = 0.01
    """Decoupled weight decay. Source: diffusers, and S3's code (its text says 0.02)."""


class AdamW8bitConfig(Section):
    """AdamW with its moments in 8 bits (extra: quant). Source: Dettmers et al. 2021 (arXiv 2110.02861)."""

    kind: Literal["adamw8bit"] = "adamw8bit"
    lr: Positive | None = None
    """Learning rate; as for adamw."""
    betas: Betas = (0.9, 0.999)
    """Decay of the two moments per step; as for adamw."""
    eps: Positive = 1e-8
    """Added to the denominator; as for adamw."""
    weight_decay: Decay = 0.01
    """Decoupled weight decay; as for adamw."""


class ProdigyConfig(Section):
    """AdamW that finds its own step size. Source: Mishchenko and Defazio 2023 (arXiv 2306.06101), set as S1 does."""

    kind: Literal["prodigy"] = "prodigy"
    lr: Positive = 1.0
    """Multiplies the step size it finds; every group has this same one. Source: S1 (1.0)."""
    betas: Betas = (0.9, 0.99)
    """Decay of the two moments per step. Source: S1."""
    beta3: Beta | None = None
    """Decay of the step-size estimate. Unset: the square root of the second beta. Source: prodigyopt."""
    eps: Positive = 1e-8
    """Added to the denominator. Source: prodigyopt."""
    weight_decay: Decay = 0.01
    """Weight decay. Source: S1."""
    decouple: bool = True
    """Decay weights as AdamW does, not as a gradient. Source: prodigyopt, diffusers."""
    bias_correction: bool = True
    """Correct the moments' start as Adam does. Source: S1 (prodigy_use_bias_correction=True)."""
    safeguard_warmup: bool = True
    """Keep the step-size estimate from being spoiled by a warm-up. Source: S1."""
    d0: Positive = 1e-6
    """The first guess of the step size. Source: prodigyopt."""
    d_coef: Positive = 1.0
    """Multiplies the estimate: 0.5 is more careful, 2 bolder. Source: prodigyopt."""


class ScheduleFreeConfig(Section):
    """AdamW that averages its path instead of lowering its rate (extra: optim).

    Source: Defazio et al. 2024 (arXiv 2405.15682).
    """

    kind: Literal["schedule_free"] = "schedule_free"
    lr: Positive | None = None
    """Learning rate; as for adamw, and up to ten times that works. Source: the authors' advice."""
    betas: Betas = (0.9, 0.999)
    """The averaging weight, and the decay of the second moment. Source: schedulefree."""
    eps: Positive = 1e-8
    """Added to the denominator. Source: schedulefree."""
    weight_decay: Decay = 0.0
    """Weight decay. Source: schedulefree (0)."""


class AdafactorConfig(Section):
    """Second moments kept by row and column, so that they take next to no memory.

    Source: Shazeer and Stern 2018 (arXiv 1804.04235).
    """

    kind: Literal["adafactor"] = "adafactor"
    lr: Positive | None = None
    """Learning rate, not scaled by the weights' size; as for adamw."""
    beta2_decay: Annotated[float, Field(lt=0)] = -0.8
    """How fast the second moment's memory grows: 1 - step**beta2_decay. Source: the paper, torch."""
    clip: Positive = 1.0
    """Largest root mean square of one update. Source: the paper (d = 1)."""
    weight_decay: Decay = 0.0
    """Decoupled weight decay. Source: torch (0)."""


class LionConfig(Section):
    """Steps by the sign of the momentum (extra: optim). Source: Chen et al. 2023 (arXiv 2302.06675)."""

    kind: Literal["lion"] = "lion"
    lr: Positive | None = None
    """Learning rate. Unset: a fifth of AdamW's. Source: section 5 of the paper (three to ten times smaller)."""
    betas: Betas = (0.9, 0.99)
    """Decay of the momentum in the step, and in the memory. Source: the paper."""
    weight_decay: Decay = 0.05
    """Decoupled weight decay: five times AdamW's, as its rate is a fifth. Source: section 5 of the paper."""


OptimizerConfig = Annotated[
    AdamWConfig | AdamW8bitConfig | ProdigyConfig | ScheduleFreeConfig | AdafactorConfig | LionConfig,
    Field(discriminator="kind"),
]


class ConstantConfig(Section):
    """The same learning rate throughout, after the warm-up. Source: S0, S1, S3."""

    kind: Literal["constant"] = "constant"
    warmup_steps: Whole = 0
    """Optimizer steps in which the rate rises linearly from 0. Source: S1, S3 (0); S2 uses 100."""


class LinearConfig(Section):
    """Falls in a straight line to 0 at the end of the run."""

    kind: Literal["linear"] = "linear"
    warmup_steps: Whole = 0
    """Optimizer steps in which the rate rises linearly from 0."""


class CosineConfig(Section):
    """Falls along half a cosine to 0 at the end of the run. Source: Loshchilov and Hutter 2016 (arXiv 1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Whole = 0
    """Optimizer steps in which the rate rises linearly from 0."""


class CosineWithRestartsConfig(Section):
    """Several half cosines, each from the full rate to 0. Source: S2."""

    kind: Literal["cosine_with_restarts"] = "cosine_with_restarts"
    warmup_steps: Whole = 0
    """Optimizer steps in which the rate rises linearly from 0. Source: S2 uses 100."""
    cycles: Count = 1
    """How many half cosines fill the run. Source: diffusers (1); S2 uses 3."""


class PolynomialConfig(Section):
    """Falls as a power of the share of the run that is left, to 0 at its end."""

    kind: Literal["polynomial"] = "polynomial"
    warmup_steps: Whole = 0
    """Optimizer steps in which the rate rises linearly from 0."""
    power: Positive = 1.0
    """The power. Source: diffusers (lr_power=1.0)."""


ScheduleConfig = Annotated[
    ConstantConfig | LinearConfig | CosineConfig | CosineWithRestartsConfig | PolynomialConfig,
    Field(discriminator="kind"),
]


class EmaConfig(Section):
    """Keep a running average of what is trained; it is exported beside the raw weights."""

    half_life_images: Positive = 100.0
    """After how many pictures a weight counts half. In pictures, so that it does not change with the batch size.
    Source: Karras et al. 2022 (arXiv 2206.00364) for the unit; the number is ours, a quarter of the shortest run."""


class TrainingConfig(Section):
    """The run itself."""

    steps: Count | Literal["auto"] = "auto"
    """Optimizer steps; "auto" is 100 per picture, at least 400 and at most 2000. Source: ours; S1 takes 75 to 120."""
    batch_size: Count = 1
    """Pictures in one forward pass (with class images, as many of those again). Source: S0, S3 (1)."""
    gradient_accumulation: Count = 1
    """Forward passes for one optimizer step, shared by all processes. Source: S1, S3 (1)."""
    seed: Whole = 0
    """Decides everything random. Source: S1, S3 (0)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; "auto" takes the first of cuda, mps and cpu that there is."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Longest gradient over all that is trained; longer ones are shortened to it. 0: off. Source: diffusers."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: slower, with far less memory. On a CPU it also leaves out the
    frozen weights that steps would hold packed. Source: S1 has it on."""
    ema: EmaConfig | None = None

    def auto_steps(self, pictures: int) -> int:
        """How many optimizer steps the run takes with this many pictures."""
        return min(2000, max(400, 100 * pictures)) if self.steps == "auto" else self.steps
