"""Flags whose meaning depends on other flags, or whose unit is another one than ours: a function for each."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from maquette.config.answer import Foreign
from maquette.config.foreign import foreign
from maquette.config.migration.command import Given
from maquette.config.migration.plan import Asked, Outcome, Remark, Setting, is_true, plain, typed

Rule = Callable[[Given, Asked], Iterator[Outcome]]


def _set(key: str, value: object, flag: Given) -> Iterator[Outcome]:
    yield Setting(key, value, flag.said, flag.is_default)


def _as_the_table_says(flag: Given) -> Iterator[Outcome]:
    entry = foreign(flag.name)
    assert entry is not None
    yield from plain(flag, entry)


def _sides(flag: Given, asked: Asked) -> Iterator[Outcome]:
    height, width = asked.number("height"), asked.number("width")
    if height is None or width is None:
        yield Remark("needless", flag.said, "height and width only count together; the resolution decides.")
    else:
        yield from _set("data.size", [int(height), int(width)], flag)
        yield from _set("data.buckets", value=False, flag=flag)


def _resolution(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.script.kandinsky == "prior":
        if not flag.is_default:
            yield Remark("needless", flag.said, "the prior sees pictures as CLIP does, at 224; the script ignores it.")
        return
    if asked.number("height") and asked.number("width"):
        if not flag.is_default:
            yield Remark("needless", flag.said, "height and width decide.")
        return
    parts = flag.value if isinstance(flag.value, list) else str(flag.value).split(",")
    sides = _whole(parts)
    if not sides:
        yield typed("data.resolution", flag.value, flag)
        return
    width, height = sides[0], sides[-1]
    if width == height:
        yield typed("data.resolution", width, flag)
    elif asked.is_on("enable_bucket"):
        side = 8 * round(math.sqrt(width * height) / 8)
        yield typed("data.resolution", side, flag)
        yield Remark("open", flag.said, f"buckets have one area: that of a square with sides of {side}.")
    else:
        yield from _set("data.size", [height, width], flag)


def _whole(parts: list[object] | list[str]) -> list[int]:
    """The parts as whole numbers; none where one is no number."""
    try:
        return [int(float(str(part))) for part in parts]
    except ValueError:
        return []


def _rate(flag: Given, asked: Asked) -> Iterator[Outcome]:
    rate = asked.number(flag.name)
    if flag.name == "learning_rate" and asked.is_said("unet_lr"):
        if not flag.is_default and asked.is_said("text_encoder_lr"):
            yield Remark("needless", flag.said, "unet_lr and text_encoder_lr say it.")
        return
    if rate is None:
        yield Remark("open", flag.said, "is not a number; set optimizer.lr by hand.")
    elif asked.is_on("scale_lr"):
        factor = asked.command.processes
        for name in ("train_batch_size", "gradient_accumulation_steps"):
            factor *= int(asked.number(name) or 1)
        scaled = Given(flag.name, (rate * factor,), f"{flag.said} --scale_lr ({rate:g} x {factor})")
        yield typed("optimizer.lr", rate * factor, scaled)
    else:
        yield typed("optimizer.lr", rate, flag)


def _steps(flag: Given, asked: Asked) -> Iterator[Outcome]:
    decides = "max_train_steps" if asked.script.trainer == "diffusers" else "max_train_epochs"
    if flag.name != decides and asked.is_said(decides):
        if not flag.is_default:
            yield Remark("needless", flag.said, f"{decides} decides how long the run is.")
        return
    if flag.name == "max_train_steps":
        yield typed("training.steps", flag.value, flag)
    elif (steps := asked.steps()) is not None:
        yield from _set("training.steps", steps, flag)
    else:
        yield Remark("open", flag.said, f"{_UNCOUNTED} Set training.steps; it stays at what maquette takes by itself.")


_UNCOUNTED = "lengths are in optimizer steps here, and the pictures are not at hand to be counted."


def _every(key: str) -> Rule:
    """A rule for an interval in passes over the data."""

    def rule(flag: Given, asked: Asked) -> Iterator[Outcome]:
        epochs = asked.number(flag.name)
        steps = None if epochs is None else asked.in_steps(epochs)
        if steps is None:
            yield Remark("open", flag.said, f"{_UNCOUNTED} Set {key}.")
        else:
            yield typed(key, steps, flag)

    return rule


def _share(flag: Given, asked: Asked) -> Iterator[Outcome]:
    steps, share = asked.steps(), asked.number(flag.name)
    if steps is None or share is None:
        yield Remark("open", flag.said, f"{_UNCOUNTED} Set preview.every.")
    else:
        yield from _set("preview.every", max(1, int(steps * share)), flag)


def _warmup(flag: Given, asked: Asked) -> Iterator[Outcome]:
    warmup, steps = asked.number(flag.name) or 0, asked.steps()
    if 0 < warmup < 1 and steps:
        warmup = round(warmup * steps)  # kohya takes a share of the run, too
    if not warmup or asked.text("lr_scheduler").lower() in ("", "constant"):
        if warmup and not flag.is_default:
            yield Remark("needless", flag.said, "the scheduler constant has no warm-up; constant_with_warmup has.")
    elif steps is not None and warmup >= steps:
        yield Remark("open", flag.said, f"the run has only {steps} steps, so that its rate would never be reached.")
    else:
        yield typed("schedule.warmup_steps", int(warmup), flag)


def _betas(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if flag.name == "betas":
        values: list[object] = [*str(flag.value).strip("()").split(",")]
    else:
        values = [asked.number("adam_beta1") or 0.9, asked.number("adam_beta2") or 0.999]
    yield typed("optimizer.betas", values, flag)


def _optimizer(flag: Given, asked: Asked) -> Iterator[Outcome]:
    yield from _as_the_table_says(flag)
    if asked.script.trainer == "diffusers" and str(flag.value).lower() == "prodigy":
        yield from _betas(Given("adam_beta1", (), "the script's betas for every optimizer", is_default=True), asked)


def _norm(flag: Given, asked: Asked) -> Iterator[Outcome]:
    norm = asked.number(flag.name)
    yield typed("training.max_grad_norm", flag.value if norm is None else max(0.0, norm), flag)  # PaddleMIX: -1 is off


def _class_image(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.script.trainer == "diffusers" and not asked.is_on("with_prior_preservation"):
        if not flag.is_default:
            yield Remark("needless", flag.said, "counts only with --with_prior_preservation, which is not given.")
    elif asked.script.trainer == "kohya" and not asked.is_said("reg_data_dir"):
        yield Remark("needless", flag.said, "counts only with class images, of which none are named.")
    elif flag.name != "num_class_images" or asked.text("class_prompt"):
        yield from _as_the_table_says(flag)


def _prompt(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.is_said("caption_column"):
        why = "captions come from caption_column; the scripts use this one only for pictures without."
        yield Remark("needless", flag.said, why)
    else:
        yield typed("data.prompt", flag.value, flag)


def _dataset(flag: Given, asked: Asked) -> Iterator[Outcome]:
    name = str(flag.value)
    is_pictures = name.startswith((".", "/", "~")) or asked.count_pictures(Path(name))
    yield typed("data.folder" if is_pictures else "data.dataset", name, flag)


def _samples(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.is_said("dataset_name"):
        yield from _set("data.split", f"train[:{flag.value}]", flag)
    else:
        yield Remark("open", flag.said, "give a folder with that many pictures.")


def _text_encoder(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if is_true(flag.value):
        yield from _set("text_encoder.train", asked.script.adapter, flag)


def _text_rate(flag: Given, asked: Asked) -> Iterator[Outcome]:
    rates = flag.value if isinstance(flag.value, list) else [flag.value]
    if len({str(rate) for rate in rates}) > 1:
        yield Remark("not yet", flag.said, "one rate for all text encoders; the first is taken.")
    is_prodigy = "prodigy" in (asked.text("optimizer").lower(), asked.text("optimizer_type").lower())
    if asked.is_on("train_text_encoder_ti"):
        key = "tokens.lr"
    elif asked.is_on("train_text_encoder") or (asked.script.trainer == "kohya" and trains_text(asked)):
        key = "text_encoder.lr"
    else:
        yield Remark("needless", flag.said, "nothing of the text encoders is trained.")
        return
    if is_prodigy:
        yield Remark("needless", flag.said, "Prodigy has one step size for everything: optimizer.lr.")
    else:
        yield typed(key, rates[0], flag)


def trains_text(asked: Asked) -> bool:
    """Whether kohya's scripts train text encoders: unless they are told not to, or their rate is 0."""
    return not asked.is_on("network_train_unet_only") and asked.number("text_encoder_lr") != 0


def _text_share(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.is_on("train_text_encoder"):
        yield typed("text_encoder.stop", flag.value, flag)
    else:
        yield Remark("needless", flag.said, "the text encoders are not trained.")


def _placeholders(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if not asked.is_on("train_text_encoder_ti"):
        yield Remark("needless", flag.said, "counts only with --train_text_encoder_ti, which is not given.")
        return
    words = [word.strip() for word in (asked.text("token_abstraction") or "TOK").split(",")]
    count = int(asked.number("num_new_tokens_per_abstraction") or 2)
    yield from _set("tokens.placeholders", dict.fromkeys(words, count), flag)


def _of_tokens(flag: Given, asked: Asked) -> Iterator[Outcome]:
    if asked.is_on("train_text_encoder_ti"):
        yield from _as_the_table_says(flag)
    else:
        yield Remark("needless", flag.said, "counts only with --train_text_encoder_ti, which is not given.")


def _blocks(flag: Given, _: Asked) -> Iterator[Outcome]:
    names = [name.strip().removeprefix("unet.") for name in str(flag.value).split(",")]
    yield from _set("adapter.blocks", names, flag)


def _trackers(flag: Given, _: Asked) -> Iterator[Outcome]:
    words = (foreign(flag.name) or Foreign("mapped")).words
    names = str(flag.value).lower().split(",") if flag.value != "all" else list(words)
    known = [words[name] for name in names if name in words]
    if known:
        yield from _set("logging.trackers", known, flag)
    if odd := [name for name in names if name not in words]:
        why = f"{', '.join(odd)}: there are {', '.join(words)}, and events.jsonl always."
        yield Remark("not yet", flag.said, why)


def _kandinsky(flag: Given, asked: Asked) -> Iterator[Outcome]:
    half = flag.name.split("_")[1]
    yield typed("model.base" if half == asked.script.kandinsky else f"model.{half}", flag.value, flag)


RULES: Mapping[str, Rule] = {
    "height": _sides,
    "width": _sides,
    "resolution": _resolution,
    "learning_rate": _rate,
    "unet_lr": _rate,
    "scale_lr": lambda _, __: iter(()),  # learning_rate multiplies it out
    "max_train_steps": _steps,
    "num_train_epochs": _steps,
    "max_train_epochs": _steps,
    "validation_epochs": _every("preview.every"),
    "sample_every_n_epochs": _every("preview.every"),
    "save_every_n_epochs": _every("checkpoints.every"),
    "validation_step_ratio": _share,
    "lr_warmup_steps": _warmup,
    "adam_beta1": _betas,
    "adam_beta2": _betas,
    "betas": _betas,
    "optimizer": _optimizer,
    "max_grad_norm": _norm,
    "class_data_dir": _class_image,
    "class_prompt": _class_image,
    "num_class_images": _class_image,
    "prior_loss_weight": _class_image,
    "instance_prompt": _prompt,
    "dataset_name": _dataset,
    "max_train_samples": _samples,
    "train_text_encoder": _text_encoder,
    "text_encoder_lr": _text_rate,
    "train_text_encoder_frac": _text_share,
    "train_text_encoder_ti_frac": _of_tokens,
    "adam_weight_decay_text_encoder": _of_tokens,
    "token_abstraction": _placeholders,
    "num_new_tokens_per_abstraction": _placeholders,
    "lora_unet_blocks": _blocks,
    "report_to": _trackers,
    "log_with": _trackers,
    "pretrained_decoder_model_name_or_path": _kandinsky,
    "pretrained_prior_model_name_or_path": _kandinsky,
}
"""By the names of their flags; every other flag is taken over as the table says."""
