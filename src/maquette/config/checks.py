"""Settings that contradict each other, or that could have no effect: errors before anything is loaded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maquette.config.adapter import DoraConfig, FullConfig, LoraConfig, NoAdapterConfig
from maquette.config.bank import bank_problems
from maquette.config.factors import Displaced, EqualRatesConfig, GaussianConfig, KaimingConfig, LoraGaConfig
from maquette.config.halting import halting_problems
from maquette.config.loss import KarrasConfig
from maquette.config.optimization import ProdigyConfig, ScheduleFreeConfig
from maquette.config.pack import pack_problems
from maquette.config.section import Section
from maquette.config.token_checks import token_problems
from maquette.config.words import TRIGGER

if TYPE_CHECKING:
    from maquette.config.schema import RunConfig


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: the dotted path of the key, and what is wrong with it and what to do."""

    path: str
    message: str


class Contradictions(ValueError):
    """All the contradictions of a configuration at once; pydantic wraps it, `maquette.config.load` unwraps it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{problem.path} {problem.message}" for problem in problems))
        self.problems = tuple(problems)


def contradictions(config: "RunConfig") -> list[Problem]:
    """Every pair of settings that cannot both be meant."""
    checks = (
        _model,
        _sources,
        _words,
        _tags,
        _shapes,
        _views,
        _class_images,
        _preservation,
        _factors,
        pack_problems,
        bank_problems,
        _text_encoder,
        token_problems,
        halting_problems,
        _optimizer,
        _schedule,
        _noise_levels,
        _output,
    )
    return [Problem(path, message) for check in checks for path, message in check(config)]


def _given(section: Section, path: str, keys: Sequence[str], message: str) -> Iterator[tuple[str, str]]:
    for key in keys:
        if getattr(section, key) is not None:
            yield f"{path}.{key}", message


def _model(config: "RunConfig") -> Iterator[tuple[str, str]]:
    model = config.model
    if model.base.endswith(".safetensors"):
        cure = "means nothing for a single-file base; remove it, or give a folder or hub id."
        yield from _given(model, "model", ("revision", "variant"), cure)
    elif model.tokenizer is not None:
        yield "model.tokenizer", "is only used for a single-file base; a folder or hub id brings its own. Remove it."
    if model.precision == "fp16" and config.training.device == "cpu":
        yield "model.precision", 'is "fp16", which a CPU cannot train in; use "fp32" or "bf16".'
    if model.quantize != "none" and isinstance(config.adapter, FullConfig):
        yield (
            "model.quantize",
            f'is "{model.quantize}", but adapter.kind = "full" trains the weights themselves, which codes of few bits '
            'cannot follow; set it to "none", or train an adapter.',
        )


def _sources(config: "RunConfig") -> Iterator[tuple[str, str]]:
    data = config.data
    if data.folder is not None and data.dataset is not None:
        yield "data.dataset", "and data.folder are both given; keep one of them."
    if data.dataset is None:
        keys = ("dataset_config", "split", "image_column")
        yield from _given(data, "data", keys, "is only used with data.dataset, which is not given; remove it.")
    if config.concepts:
        cure = "cannot stand beside [[concepts]]; write it into one of them."
        yield from _given(data, "data", ("folder", "dataset", "prompt", "trigger"), cure)
        if data.repeats != 1:
            yield "data.repeats", cure


def _words(config: "RunConfig") -> Iterator[tuple[str, str]]:
    concepts = [(f"concepts.{i}", concept) for i, concept in enumerate(config.concepts)]
    for path, place in [*([("data", config.data)] if config.pack is None else []), *concepts]:
        if place.prompt is None:
            continue
        if place.trigger is None:
            if TRIGGER in place.prompt:
                yield f"{path}.prompt", f'says "{TRIGGER}", but there is no {path}.trigger to put there; give one.'
        elif TRIGGER not in place.prompt and place.trigger not in place.prompt:
            yield f"{path}.trigger", f'is not in {path}.prompt; write "{TRIGGER}" where it belongs, or remove it.'


def _tags(config: "RunConfig") -> Iterator[tuple[str, str]]:
    for i, concept in enumerate(config.concepts):
        if concept.prompt is not None and (concept.phrase is not None or concept.tags):
            yield f"concepts.{i}.prompt", "is the whole caption, beside which phrase and tags have no place; keep one."
    captions = config.data.captions
    if captions.flip_tag is not None and not config.data.flip:
        yield "data.captions.flip_tag", "has no effect without data.flip = true."
    if captions.keep_tokens and not captions.shuffle:
        yield "data.captions.keep_tokens", "has no effect without data.captions.shuffle = true."


def _shapes(config: "RunConfig") -> Iterator[tuple[str, str]]:
    data = config.data
    if data.size is None:
        return
    if data.resolution is not None:
        yield "data.resolution", "and data.size are both given; keep one of them."
    if data.buckets:
        yield "data.size", "asks for one shape, data.buckets for many; set data.buckets = false."
    if any(side % 8 for side in data.size):
        yield "data.size", f"is {list(data.size)}; both numbers must be multiples of 8."


def _views(config: "RunConfig") -> Iterator[tuple[str, str]]:
    data, cache = config.data, config.data.cache
    if data.masks == "folder" and data.mask_folder is None:
        yield "data.masks", 'is "folder", but data.mask_folder is not given; give it.'
    if data.masks != "folder" and data.mask_folder is not None:
        yield "data.mask_folder", 'is only used with data.masks = "folder".'
    if not cache.latents:
        yield from _given(cache, "data.cache", ("views", "dir"), "has no effect with data.cache.latents = false.")
    elif cache.views is not None and cache.views > 1 and data.crop == "center" and not data.flip:
        yield "data.cache.views", 'above 1 are all the same without data.flip = true or data.crop = "random".'


def _class_images(config: "RunConfig") -> Iterator[tuple[str, str]]:
    images = config.class_images
    if images is None:
        for i, concept in enumerate(config.concepts):
            cure = "has no effect without a section [class_images]; add one."
            keys = ("class_prompt", "class_folder") if config.preservation is None else ("class_folder",)
            yield from _given(concept, f"concepts.{i}", keys, cure)
    elif config.concepts:
        cure = "cannot stand beside [[concepts]]; use their class_prompt and class_folder."
        yield from _given(images, "class_images", ("prompt", "folder"), cure)
        if not any(concept.class_prompt or concept.class_folder for concept in config.concepts):
            yield "class_images", "asks for class images, but no concept has a class_prompt or a class_folder."
    elif images.prompt is None and images.folder is None:
        yield "class_images", "needs a prompt (class images are generated), a folder (they exist), or both."
    elif images.prompt is None and images.count is not None:
        yield "class_images.count", "asks for generated pictures, but there is no class_images.prompt; give one."


def _preservation(config: "RunConfig") -> Iterator[tuple[str, str]]:
    section = config.preservation
    if section is None:
        return
    if config.class_images is not None:
        yield "preservation", "and class_images both keep the class; keep one of them."
    if isinstance(config.adapter, FullConfig):
        yield (
            "preservation",
            'holds the model to its base, which adapter.kind = "full" overwrites; use class_images, or an adapter.',
        )
    if isinstance(config.adapter, NoAdapterConfig):
        yield "preservation", 'has no effect with adapter.kind = "none": the model is its base already. Remove it.'
    if config.concepts:
        cure = "cannot stand beside [[concepts]]; use their class_prompt."
        yield from _given(section, "preservation", ("class_prompt",), cure)
        for i, concept in enumerate(config.concepts):
            if concept.class_prompt is None:
                yield f"concepts.{i}.class_prompt", "is missing; [preservation] needs it of every concept."
    elif section.class_prompt is None:
        yield "preservation.class_prompt", 'is missing; say what the base is held to ("dog").'


def _factors(config: "RunConfig") -> Iterator[tuple[str, str]]:
    adapter = config.adapter
    if not isinstance(adapter, LoraConfig | DoraConfig):
        return
    init = adapter.init
    if isinstance(adapter, DoraConfig) and isinstance(init, Displaced):
        yield (
            "adapter.init.kind",
            f'is "{init.kind}", which needs adapter.kind = "lora"; a DoRA starts by gaussian, kaiming or eva.',
        )
    if isinstance(init, LoraGaConfig) and config.model.quantize != "none":
        yield (
            "adapter.init.kind",
            f'is "lora_ga", which needs the gradients of weights that model.quantize = "{config.model.quantize}" holds '
            'in codes; set that to "none", or choose another start.',
        )
    if adapter.start_from is not None and not isinstance(init, GaussianConfig | KaimingConfig):
        yield "adapter.init.kind", f'is "{init.kind}", but adapter.start_from gives the start; remove one of them.'
    if isinstance(config.optimizer, ProdigyConfig) and not isinstance(adapter.lr_ratio, EqualRatesConfig):
        yield (
            "adapter.lr_ratio.kind",
            f'is "{adapter.lr_ratio.kind}": Prodigy has one step size for everything. Set it to "off", or use another '
            "optimizer.kind.",
        )


def _text_encoder(config: "RunConfig") -> Iterator[tuple[str, str]]:
    text, full = config.text_encoder, isinstance(config.adapter, FullConfig)
    if text.train == "none":
        cure = 'has no effect while text_encoder.train = "none"; train them, or remove it.'
        yield from _given(text, "text_encoder", ("lr", "rank", "lora_alpha", "targets", "stop", "stop_step"), cure)
    if text.train == "full":
        cure = 'has no effect with text_encoder.train = "full"; remove it.'
        yield from _given(text, "text_encoder", ("rank", "lora_alpha", "targets"), cure)
        if not full:
            yield "text_encoder.train", 'is "full" beside an adapter; use "lora", or adapter.kind = "full".'
    elif text.train == "lora" and full:
        yield "text_encoder.train", 'is "lora" beside adapter.kind = "full"; use "full" or "none".'


def _optimizer(config: "RunConfig") -> Iterator[tuple[str, str]]:
    optimizer = config.optimizer
    rates = {"text_encoder.lr": config.text_encoder.lr, "tokens.lr": config.tokens.lr if config.tokens else None}
    for path, lr in rates.items():
        if isinstance(optimizer, ProdigyConfig) and lr is not None and lr != optimizer.lr:
            yield (
                path,
                f"is {lr:g} and optimizer.lr {optimizer.lr:g}: Prodigy has one step size for everything. "
                f"Remove {path}, or use another optimizer.kind.",
            )
    if isinstance(optimizer, ScheduleFreeConfig) and config.schedule.kind != "constant":
        yield "schedule.kind", f'is "{config.schedule.kind}"; optimizer.kind = "schedule_free" needs "constant".'


def _schedule(config: "RunConfig") -> Iterator[tuple[str, str]]:
    warmup, steps = config.schedule.warmup_steps, config.training.steps
    if steps != "auto" and warmup >= steps:
        yield (
            "schedule.warmup_steps",
            f"is {warmup}, and training.steps only {steps}; lower it, or train longer.",
        )


def _noise_levels(config: "RunConfig") -> Iterator[tuple[str, str]]:
    levels = config.loss.noise_levels
    if isinstance(levels, KarrasConfig) and levels.sigma_min and levels.sigma_max:
        least, most = levels.sigma_min, levels.sigma_max
        if least >= most:
            yield "loss.noise_levels.sigma_min", f"is {least:g}, and sigma_max {most:g}; it must be the smaller one."


def _output(config: "RunConfig") -> Iterator[tuple[str, str]]:
    if config.output.single_file and not isinstance(config.adapter, FullConfig):
        yield "output.single_file", 'is for adapter.kind = "full"; an adapter always is one file. Remove it.'
    trackers = config.logging.trackers
    if len(set(trackers)) != len(trackers):
        yield "logging.trackers", "names the same tracker twice; name each once."
