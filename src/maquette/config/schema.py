"""The one schema: every setting of a training run, in sections. Files, flags and documentation come from it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from maquette.config.adapter import (
    AdapterConfig,
    FullConfig,
    LoraConfig,
    LowRankConfig,
    NoAdapterConfig,
    TextEncoderConfig,
    TokensConfig,
)
from maquette.config.checks import Contradictions, contradictions
from maquette.config.data import ClassImagesConfig, ConceptConfig, DataConfig, PreservationConfig
from maquette.config.evaluation import EvaluationConfig
from maquette.config.halting import halting_step
from maquette.config.loss import LossConfig
from maquette.config.optimization import (
    AdamWConfig,
    ConstantConfig,
    LionConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleConfig,
    TrainingConfig,
)
from maquette.config.pack import PackConfig
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
    pack: PackConfig | None = None
    class_images: ClassImagesConfig | None = None
    preservation: PreservationConfig | None = None
    adapter: AdapterConfig = LoraConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    tokens: TokensConfig | None = None
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
    def is_bank(self) -> bool:
        """Whether each concept has an adapter of its own."""
        return isinstance(self.adapter, LoraConfig) and self.adapter.bank

    @property
    def denoiser_lr(self) -> float:
        """The denoiser's learning rate, or that of tokens alone, by what is trained and the optimizer."""
        if self.optimizer.lr is not None:
            return self.optimizer.lr
        rate = {FullConfig: 5e-6, NoAdapterConfig: 5e-4}.get(type(self.adapter), 1e-4)
        return rate / 5 if isinstance(self.optimizer, LionConfig) else rate

    @property
    def text_encoder_lr(self) -> float:
        """The text encoders' learning rate: their own, or the denoiser's."""
        return self.denoiser_lr if self.text_encoder.lr is None else self.text_encoder.lr

    @property
    def text_encoder_rank(self) -> int:
        """The rank of the text encoders' updates: their own, or the adapter's; 0 when the adapter has none."""
        if not isinstance(self.adapter, LowRankConfig):
            return 0
        return self.adapter.rank if self.text_encoder.rank is None else self.text_encoder.rank

    @property
    def text_encoder_alpha(self) -> float:
        """The lora_alpha of the text encoders: their own, or in proportion to their rank as the adapter's is."""
        if self.text_encoder.lora_alpha is not None:
            return self.text_encoder.lora_alpha
        if not isinstance(self.adapter, LowRankConfig):
            return 0.0
        return self.adapter.lora_alpha / self.adapter.rank * self.text_encoder_rank

    @property
    def tokens_lr(self) -> float:
        """The learning rate of new tokens: their own, or three times an adapter's, as S1 has it."""
        if self.tokens is not None and self.tokens.lr is not None:
            return self.tokens.lr
        alone = isinstance(self.adapter, NoAdapterConfig) or isinstance(self.optimizer, ProdigyConfig)
        return self.denoiser_lr if alone else float(f"{3 * self.denoiser_lr:.12g}")  # 3e-4, not 0.00030000000000000003

    @property
    def tokens_decay(self) -> float:
        """The weight decay of new tokens: their own, where 0 is none, or the optimizer's."""
        own = None if self.tokens is None else self.tokens.weight_decay
        return self.optimizer.weight_decay if own is None else own

    def tokens_halt(self, steps: int) -> int | None:
        """The step from which new tokens rest, in a run of so many; None where they learn to its end."""
        assert self.tokens is not None
        return halting_step(self, self.tokens, steps)

    def text_encoder_halt(self, steps: int) -> int | None:
        """The step from which the text encoders rest, in a run of so many; None where they learn to its end."""
        return halting_step(self, self.text_encoder, steps)


def resolved(config: RunConfig, *, pictures: int) -> RunConfig:
    """The same run with every number that depends on others written out, as it is stored beside the output.

    pictures: how many distinct pictures there are to learn from; decides training.steps = "auto".
    """
    tree = config.model_dump()
    tree["training"]["steps"] = steps = config.training.auto_steps(pictures)
    if config.evaluation.every == "auto":  # a bank's adapters are scored one by one, afterwards
        tree["evaluation"]["every"] = 0 if config.is_bank else max(1, round(steps / SCORINGS))
    tree["optimizer"]["lr"] = config.denoiser_lr
    if config.text_encoder.train != "none":
        tree["text_encoder"] |= {"lr": config.text_encoder_lr, **_halt(config.text_encoder_halt(steps))}
    if config.text_encoder.train == "lora":
        tree["text_encoder"] |= {"rank": config.text_encoder_rank, "lora_alpha": config.text_encoder_alpha}
    if config.tokens is not None:
        tree["tokens"] |= {"lr": config.tokens_lr, "weight_decay": config.tokens_decay}
        tree["tokens"] |= _halt(config.tokens_halt(steps))
    return RunConfig.model_validate(tree)


def _halt(step: int | None) -> dict[str, float | int | None]:
    """A halting point as it is stored: one whole step, which a longer run does not move; or the whole run."""
    return {"stop": 1.0 if step is None else None, "stop_step": step}
