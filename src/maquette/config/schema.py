"""The one schema: every setting of a training run, in sections. Files, flags, documentation and forms come from it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from maquette.config.adapter import AdapterConfig, FullConfig, LoraConfig, TextEncoderConfig
from maquette.config.checks import Contradictions, contradictions
from maquette.config.data import ClassImagesConfig, ConceptConfig, DataConfig, PreservationConfig
from maquette.config.evaluation import EvaluationConfig
from maquette.config.optimization import (
    AdamWConfig,
    ConstantConfig,
    LionConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from maquette.config.running import (
    CheckpointsConfig,
    LoggingConfig,
    ModelConfig,
    OutputConfig,
    PreviewConfig,
    ValidationConfig,
)
from maquette.config.section import Section

SCORINGS = 6
"""How often pictures are scored in a run with evaluation.every = "auto"."""


class RunConfig(Section):
    """Everything that decides a training run."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    concepts: Annotated[tuple[ConceptConfig, ...], Field(strict=False)] = ()
    """Several things learned together, each with its own pictures and words; instead of data.folder."""
    class_images: ClassImagesConfig | None = None
    preservation: PreservationConfig | None = None
    adapter: AdapterConfig = LoraConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    optimizer: OptimizerConfig = AdamWConfig()
    schedule: ScheduleConfig = ConstantConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    preview: PreviewConfig = PreviewConfig()
    validation: ValidationConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = contradictions(self)
        if problems:
            raise Contradictions(problems)
        return self

    @property
    def denoiser_lr(self) -> float:
        """The denoiser's learning rate, with the default of what is trained and of the optimizer."""
        if self.optimizer.lr is not None:
            return self.optimizer.lr
        rate = 5e-6 if isinstance(self.adapter, FullConfig) else 1e-4
        return rate / 5 if isinstance(self.optimizer, LionConfig) else rate

    @property
    def text_encoder_lr(self) -> float:
        """The text encoders' learning rate: their own, or the denoiser's."""
        return self.denoiser_lr if self.text_encoder.lr is None else self.text_encoder.lr

    @property
    def text_encoder_rank(self) -> int:
        """The rank of the text encoders' updates: their own, or the adapter's; 0 when the adapter has none."""
        if isinstance(self.adapter, FullConfig):
            return 0
        return self.adapter.rank if self.text_encoder.rank is None else self.text_encoder.rank

    @property
    def text_encoder_alpha(self) -> float:
        """The lora_alpha of the text encoders: their own, or in proportion to their rank as the adapter's is."""
        if self.text_encoder.lora_alpha is not None:
            return self.text_encoder.lora_alpha
        if isinstance(self.adapter, FullConfig):
            return 0.0
        return self.adapter.lora_alpha / self.adapter.rank * self.text_encoder_rank


def resolved(config: RunConfig, *, pictures: int) -> RunConfig:
    """The same run with every number that depends on others written out, as it is stored beside the output.

    pictures: how many distinct pictures there are to learn from; decides training.steps = "auto".
    """
    tree = config.model_dump()
    tree["training"]["steps"] = config.training.auto_steps(pictures)
    if config.evaluation.every == "auto":
        tree["evaluation"]["every"] = max(1, round(tree["training"]["steps"] / SCORINGS))
    tree["optimizer"]["lr"] = config.denoiser_lr
    if config.text_encoder.train != "none":
        tree["text_encoder"]["lr"] = config.text_encoder_lr
    if config.text_encoder.train == "lora":
        tree["text_encoder"] |= {"rank": config.text_encoder_rank, "lora_alpha": config.text_encoder_alpha}
    return RunConfig.model_validate(tree)
