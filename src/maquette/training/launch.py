"""What a launcher (torchrun, accelerate launch) says in the environment; importing this does not import torch."""

import os

from maquette.errors import ConfigError

INSTEAD = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""Ways to split a model over processes that accelerate can be told to use, and maquette does not follow."""


def num_launched() -> int:
    """How many processes were started together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def launched_rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def check_launcher() -> None:
    """Raise ConfigError for settings of `accelerate launch` that would have no effect, since a run has its own."""
    if split := [name for key, name in INSTEAD.items() if os.environ.get(key, "false").lower() == "true"]:
        raise ConfigError(
            f"accelerate launch asks for {', '.join(split)}: maquette gives every process the whole model and a share "
            "of each step. Launch without it (accelerate launch --multi_gpu, or torchrun)."
        )
    mixed = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if mixed != "no":
        raise ConfigError(
            f"accelerate launch asks for mixed precision {mixed}, which has no effect here: a run's precision is "
            'model.precision. Launch with --mixed_precision no, and set model.precision = "bf16" or "fp16" instead.'
        )
    parts = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if parts != "1":
        raise ConfigError(
            f"accelerate launch asks for gradient accumulation over {parts}, which has no effect here: set "
            "training.gradient_accumulation instead."
        )
