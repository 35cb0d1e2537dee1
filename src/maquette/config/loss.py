"""The section about the loss: how often each noise level is drawn, and how much its error counts."""

from typing import Annotated, Literal

from pydantic import Field

from maquette.config.section import Positive, Section


class UniformConfig(Section):
    """Every noise level counts alike in what the network predicts: the plain mean square error. Source: S0, S3."""

    kind: Literal["uniform"] = "uniform"


class UniformX0Config(Section):
    """Every noise level counts alike in the clean sample that the network stands for.

    Source: diffusers' scripts, for checkpoints with an EDM scheduler (S1).
    """

    kind: Literal["uniform_x0"] = "uniform_x0"


class MinSnrConfig(Section):
    """Cap the weight of easy noise levels. Source: Hang et al. 2023 (arXiv 2303.09556)."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: Positive = 5.0
    """The cap on the signal-to-noise ratio; on a base with EDM preconditioning the cap on EDM's own weight, which is 4
    and more. Source: the paper, S1, S2 (5)."""


class SoftMinSnrConfig(Section):
    """The same cap without a corner. Source: Crowson et al. 2024 (arXiv 2401.11605)."""

    kind: Literal["soft_min_snr"] = "soft_min_snr"


class DebiasedConfig(Section):
    """Weigh the clean sample by the square root of the signal-to-noise ratio.

    Source: Yu et al. 2023 (arXiv 2310.08442).
    """

    kind: Literal["debiased"] = "debiased"


class EdmConfig(Section):
    """Weigh the clean sample by 1 / sigma² + 1 / sigma_data²: for v models and EDM models the same as uniform.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1.
    """

    kind: Literal["edm"] = "edm"


class SnrConfig(Section):
    """Weigh the clean sample by the signal-to-noise ratio: for epsilon models the same as uniform."""

    kind: Literal["snr"] = "snr"


WeightingConfig = Annotated[
    UniformConfig | UniformX0Config | EdmConfig | MinSnrConfig | SoftMinSnrConfig | DebiasedConfig | SnrConfig,
    Field(discriminator="kind"),
]


class AsTrainedConfig(Section):
    """As the base was trained: every step of its table alike, or a lognormal (-1.2, 1.2) where it is an EDM model."""

    kind: Literal["as_trained"] = "as_trained"


class LognormalConfig(Section):
    """The ratio of noise to signal, sigma, is lognormal: the levels in the middle, where there is most to learn.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1.
    """

    kind: Literal["lognormal"] = "lognormal"
    p_mean: float = -1.2
    """Mean of ln(sigma). Source: the paper (-1.2, for data of deviation 0.5). Latents of deviation 1, as Stable
    Diffusion's and SDXL's, have the same levels in relation to them at -0.5."""
    p_std: Positive = 1.2
    """Standard deviation of ln(sigma). Source: the paper (1.2)."""


class KarrasConfig(Section):
    """Every step of a Karras sampling schedule alike: sigma^(1/rho) is uniform.

    Source: diffusers' scripts, for checkpoints with an EDM scheduler (S1).
    """

    kind: Literal["karras"] = "karras"
    rho: Positive = 7.0
    """How much the schedule prefers low levels. Source: Karras et al. 2022 (7)."""
    sigma_min: Positive | None = None
    """The lowest ratio of noise to signal. Unset: the base's (0.002 for EDM models)."""
    sigma_max: Positive | None = None
    """The highest. Unset: the base's (80 for EDM models, 14.6 for Stable Diffusion)."""


NoiseLevelsConfig = Annotated[AsTrainedConfig | LognormalConfig | KarrasConfig, Field(discriminator="kind")]


class LossConfig(Section):
    """What the error counts for. What the network predicts (epsilon, v, ...) is read from the base, never set."""

    weighting: WeightingConfig = UniformConfig()
    noise_levels: NoiseLevelsConfig = AsTrainedConfig()
    noise_offset: Annotated[float, Field(ge=0)] = 0.0
    """Adds this much of one number per picture and channel to the noise, so that dark and bright can be learned.
    Source: diffusers (0; 0.05 to 0.1 is usual)."""
