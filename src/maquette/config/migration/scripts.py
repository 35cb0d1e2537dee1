"""The scripts of other trainers whose command lines are understood, and what they do where a flag is not given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DECODER = "kandinsky-community/kandinsky-2-2-decoder"
PRIOR = "kandinsky-community/kandinsky-2-2-prior"


@dataclass(frozen=True, slots=True)
class Script:
    """A training script: whose it is, whether it trains an adapter or all weights, and the defaults of its flags.

    Only defaults that decide what is learned and that may differ from ours are listed.
    kandinsky: which of the two networks of Kandinsky 2.2 it trains, if any.
    """

    name: str
    trainer: Literal["diffusers", "kohya"]
    adapter: Literal["lora", "full"]
    defaults: Mapping[str, str]
    kandinsky: Literal["decoder", "prior"] | None = None


def _diffusers(
    name: str, *, lr: str, resolution: str = "512", batch: str = "4", epochs: str = "1", decay: str = "1e-2"
) -> Script:
    is_lora = "_lora" in name
    defaults = {
        "learning_rate": lr,
        "resolution": resolution,
        "train_batch_size": batch,
        "num_train_epochs": epochs,
        "adam_weight_decay": decay,
        "lr_warmup_steps": "500",
        "num_class_images": "100",
        **({"rank": "4"} if is_lora else {}),
    }
    network = "decoder" if "decoder" in name else "prior" if "prior" in name else None
    return Script(name, "diffusers", "lora" if is_lora else "full", defaults, network)


def _kohya(name: str, *, resolution: str = "") -> Script:
    is_lora = name.endswith("_network")
    defaults = {
        "learning_rate": "2e-6",
        "max_train_steps": "1600",
        "train_batch_size": "1",
        "enable_bucket": "false",
        **({"resolution": resolution} if resolution else {}),
        **({"network_dim": "4", "network_alpha": "1"} if is_lora else {}),
    }
    return Script(name, "kohya", "lora" if is_lora else "full", defaults)


KOHYA_SETTINGS = Script("kohya's settings", "kohya", "lora", _kohya("train_network").defaults)
"""A file of kohya's settings, which does not say for which script it is."""

KOHYA_DATA = Script("kohya's data", "kohya", "lora", {})
"""A file of kohya's that only says which pictures there are."""

_KANDINSKY = {"lr": "1e-4", "batch": "1", "epochs": "100", "decay": "0.0"}

SCRIPTS: Mapping[str, Script] = {
    script.name: script
    for script in (
        _diffusers("train_dreambooth", lr="5e-6"),
        _diffusers("train_dreambooth_lora", lr="5e-4"),
        _diffusers("train_dreambooth_lora_sdxl", lr="1e-4", resolution="1024"),
        _diffusers("train_dreambooth_lora_sdxl_advanced", lr="1e-4", resolution="1024", decay="1e-4"),
        _diffusers("train_dreambooth_lora_sd15_advanced", lr="1e-4", decay="1e-4"),
        _diffusers("train_text_to_image", lr="1e-4", batch="16", epochs="100"),
        _diffusers("train_text_to_image_sdxl", lr="1e-4", batch="16", epochs="100", resolution="1024"),
        _diffusers("train_text_to_image_lora", lr="1e-4", batch="16", epochs="100"),
        _diffusers("train_text_to_image_lora_sdxl", lr="1e-4", batch="16", epochs="100", resolution="1024"),
        _diffusers("train_text_to_image_decoder", **_KANDINSKY),
        _diffusers("train_text_to_image_prior", **_KANDINSKY),
        _diffusers("train_text_to_image_decoder_lora", **_KANDINSKY),
        _diffusers("train_text_to_image_prior_lora", **_KANDINSKY),
        _diffusers("train_text_to_image_lora_decoder", **_KANDINSKY),
        _diffusers("train_text_to_image_lora_prior", **_KANDINSKY),
        _kohya("train_network"),
        _kohya("sdxl_train_network", resolution="1024"),
        _kohya("train_db"),
        _kohya("fine_tune"),
        _kohya("sdxl_train", resolution="1024"),
    )
}
"""By their names without ".py". Source: their parsers of arguments (diffusers, PaddleMIX, sd-scripts)."""

KOHYA_OPTIMIZERS: Mapping[str, Mapping[str, str]] = {
    "prodigy": {
        "weight_decay": "0",
        "betas": "0.9,0.999",
        "use_bias_correction": "false",
        "safeguard_warmup": "false",
    },
    "lion": {"weight_decay": "0"},
}
"""What kohya's optimizers do where optimizer_args does not say. Source: prodigyopt, lion-pytorch."""
