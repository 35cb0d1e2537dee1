"""Kohya's flags that need more than a table: other units, files beside the command, arguments inside arguments."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath

from maquette.config.migration.command import Given
from maquette.config.migration.plan import Asked, Outcome, Remark, Setting, is_true, typed

ARGUMENTS = ("network_args", "optimizer_args")
"""Flags that hold flags: "network_args conv_dim=4"."""


def spread(given: Mapping[str, Given]) -> dict[str, Given]:
    """The same flags, with those inside network_args and optimizer_args as flags of their own behind them."""
    found = {name: flag for name, flag in given.items() if name not in ARGUMENTS}
    for outer in ARGUMENTS:
        for argument in given[outer].values if outer in given else ():
            name, _, value = str(argument).partition("=")
            name = name.strip().lower()
            found[name] = Given(name, (value.strip(),), f"--{outer} {argument}")
    return found


def _clip_skip(flag: Given, asked: Asked) -> Iterator[Outcome]:
    skip = int(asked.number("clip_skip") or 1)
    if asked.script.name.startswith("sdxl"):
        yield Remark("needless", flag.said, "SDXL is always read at the layer that it was trained with.")
    else:
        yield typed("model.clip_skip", max(0, skip - 1), flag)  # theirs counts from 1


def _vae(flag: Given, _: Asked) -> Iterator[Outcome]:
    if PurePath(str(flag.value)).suffix in (".safetensors", ".pt", ".ckpt"):
        yield Remark("not yet", flag.said, "an autoencoder as a single file; model.vae takes a folder or a hub id.")
    else:
        yield typed("model.vae", flag.value, flag)


def _regularisation(flag: Given, _: Asked) -> Iterator[Outcome]:
    yield typed("class_images.folder", flag.value, flag)


def _class_tokens(flag: Given, asked: Asked) -> Iterator[Outcome]:
    folder = Path(asked.text("image_dir"))
    if any(folder.glob("*.txt")) or any(folder.glob("*.caption")):
        yield Remark("needless", flag.said, "it counts only for pictures without a caption file.")
    else:
        yield typed("data.prompt", flag.value, flag)


def _upscale(flag: Given, _: Asked) -> Iterator[Outcome]:
    yield Setting("data.upscale", not is_true(flag.value), flag.said)


def _masks(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if is_true(flag.value) and not asked.is_on("alpha_mask"):
        yield Setting("data.masks", "folder", flag.said)
        if not asked.is_said("conditioning_data_dir"):
            yield Remark("open", flag.said, "name the folder of masks: data.mask_folder.")


def _convolutions(flag: Given, asked: Asked) -> Iterator[Outcome]:
    yield Setting("adapter.targets", "attention+feed_forward+convolutions", flag.said)
    if asked.number("conv_dim") != asked.number("network_dim"):
        why = "convolutions get adapter.rank like all other layers; adapter.rank_pattern gives them one of their own."
        yield Remark("open", flag.said, why)


def _convolution_alpha(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.number("conv_alpha") != asked.number("network_alpha"):
        yield Remark("not yet", flag.said, "one lora_alpha for all layers.")
    else:
        yield typed("adapter.lora_alpha", flag.value, flag)


def _output_dir(flag: Given, asked: Asked) -> Iterator[Outcome]:
    yield typed("output.dir", str(PurePath(str(flag.value), asked.text("output_name"))), flag)


def _output_name(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if not asked.text("output_dir"):  # which says it with this name
        yield typed("output.dir", flag.value, flag)


def _sample_prompts(flag: Given, _: Asked) -> Iterator[Outcome]:
    file = Path(str(flag.value))
    if not file.is_file():
        yield Remark("open", flag.said, "this file is not here to be read; write its lines into preview.prompts.")
        return
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    said = [line for line in lines if line and not line.startswith("#")]
    prompts = [re.split(r"\s--?[a-z]+\s", line)[0].strip() for line in said]
    if prompts != said:
        yield Remark("open", flag.said, "sizes, seeds and negatives of single prompts are left out; see [preview].")
    yield typed("preview.prompts", prompts, flag)


KOHYA_RULES: Mapping[str, Callable[[Given, Asked], Iterator[Outcome]]] = {
    "clip_skip": _clip_skip,
    "vae": _vae,
    "reg_data_dir": _regularisation,
    "class_tokens": _class_tokens,
    "bucket_no_upscale": _upscale,
    "masked_loss": _masks,
    "conv_dim": _convolutions,
    "conv_alpha": _convolution_alpha,
    "output_dir": _output_dir,
    "output_name": _output_name,
    "sample_prompts": _sample_prompts,
}
"""By the names of their flags; they come before those that all trainers share."""


def implied(asked: Asked) -> Iterator[Outcome]:
    """What kohya's scripts do unless they are told otherwise, where ours does something else."""
    if asked.script.adapter == "full" or not asked.script.defaults:
        return
    from_network = "kohya's networks"
    yield Setting("adapter.targets", "attention+feed_forward", from_network, is_default=True)
    why = (
        "they also change proj_in and proj_out beside each attention; to have these, list patterns in adapter.targets."
    )
    yield Remark("open", from_network, why)
    if not asked.is_on("network_train_unet_only"):
        yield from _texts(asked)


def _texts(asked: Asked) -> Iterator[Outcome]:
    if asked.number("text_encoder_lr") == 0:
        return
    said = "without --network_train_unet_only"
    yield Setting("text_encoder.train", "lora", said, is_default=True)
    rate = asked.number("learning_rate")
    is_prodigy = asked.text("optimizer_type").lower() == "prodigy"
    if not is_prodigy and asked.is_said("unet_lr") and not asked.is_said("text_encoder_lr") and rate:
        yield Setting("text_encoder.lr", rate, asked.given["learning_rate"].said)
