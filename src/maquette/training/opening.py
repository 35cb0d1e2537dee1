"""What a run needs before anything is trained: its pictures, its base, and the right to go on where it stopped."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from maquette.adapters.attach import layer_ranks, text_encoders, text_ranks
from maquette.adapters.base import ParamGroup
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.tokens import grown
from maquette.config.adapter import FullConfig, LowRankConfig, NoAdapterConfig
from maquette.config.compare import resume_refusals
from maquette.config.schema import RunConfig
from maquette.data.sample import Sample
from maquette.errors import CheckpointError, ConfigError
from maquette.families.base import Family
from maquette.families.load import load_model
from maquette.families.quantized import check_quantize
from maquette.families.sd import StableDiffusion
from maquette.families.sdxl import StableDiffusionXL
from maquette.families.text import unread
from maquette.families.weights import some
from maquette.generation.sample import Request, check_request
from maquette.training.objective import denoising
from maquette.training.optim import build_optimizer
from maquette.training.prepare import checkpointing_of
from maquette.training.seeds import rng_at
from maquette.training.trackers import check_trackers
from maquette.training.weighting import check_cap, levels_of, weighting_of


def load_base(config: RunConfig, device: torch.device) -> Family:
    """The base model of a run, on its device, with the new tokens that it will learn.

    What is trained whole is in fp32, so that nothing of it is rounded; another half beside it stays frozen, and is held
    as frozen weights are.
    """
    whole = isinstance(config.adapter, FullConfig)
    return with_tokens(config, load_model(config.model, device=str(device), precision="fp32" if whole else None))


def with_tokens(config: RunConfig, family: Family) -> Family:
    """The base, with or without its weights, with the new tokens that a run will learn."""
    if config.tokens is None:
        return family
    return grown(family, config.tokens, rng_at(config.training.seed, 0, stream="tokens"))


def check_packages(config: RunConfig, device: torch.device) -> None:
    """Raise MissingDependencyError, or ConfigError, for an optimizer, tracker or quantizer that does not work here."""
    check_trackers(config.logging)
    check_quantize(config.model.quantize, device)
    anything = nn.Parameter(torch.zeros(1, device=device))
    build_optimizer(config.optimizer, [ParamGroup("", [anything], config.denoiser_lr)])


def check_fit(config: RunConfig, family: Family, requests: Sequence[Sequence[Request]]) -> None:
    """Raise ConfigError, CheckpointError or ModelError for settings that this base cannot follow."""
    if isinstance(config.adapter, LowRankConfig):
        layer_ranks(config.adapter, family.modules["denoiser"])
        if config.adapter.start_from is not None:
            read_adapter(config.adapter.start_from, layout_of(family.modules))
    for module in text_encoders(family, needed=config.text_encoder.train != "none").values():
        if config.text_encoder.train == "lora":
            text_ranks(config, module)
    refuse_unfit(config, family)
    if config.training.gradient_checkpointing and not isinstance(config.adapter, NoAdapterConfig):
        checkpointing_of(family.modules["denoiser"])
    levels = levels_of(config.loss.noise_levels, family.diffusion.path)
    check_cap(config.loss.weighting, family.diffusion, levels)
    denoising(family, weighting_of(config.loss.weighting), levels=levels)
    for row in requests:
        for request in row:
            check_request(family, request)


def refuse_unfit(config: RunConfig, family: Family) -> None:
    """Raise ConfigError, with all of them, for settings that mean nothing to this family."""
    problems = []
    if not family.latent_factor:
        what = f'the clean sample of this base (family "{family.name}") is one vector, which has no positions'
        if config.data.masks != "off":
            problems.append(f'data.masks: {what} that a mask could leave out. Set it to "off".')
        if config.loss.noise_offset:
            problems.append(f"loss.noise_offset: {what} to offset together. Set it to 0.")
    if config.output.single_file and not isinstance(family, StableDiffusion | StableDiffusionXL):
        problems.append(
            f'output.single_file: there is no layout of one file for the family "{family.name}". Set it to false; the '
            "folder is written in any case."
        )
    if not family.tokenizers and config.preservation is not None:
        problems.append(
            f'[preservation]: this base (family "{family.name}") reads no captions, so that words of the class would '
            "ask it the same. Remove it; [class_images] preserves by pictures."
        )
    if problems:
        raise ConfigError("\n".join(problems))


def unused(config: RunConfig, family: Family) -> list[str]:
    """Warnings about what this family makes no use of."""
    told = []
    if not family.tokenizers:
        told.append(
            f'Captions and prompts are not learned: this base (family "{family.name}") is told what a picture shows by '
            "its embedding, and not by words. Prompts are for previews alone."
        )
    if family.pictures() is None and config.preview.every:
        told.append(
            f'No previews are made: this base (family "{family.name}") is only a part of what makes pictures. Set '
            "preview.every = 0 to ask for none."
        )
    return told


def cut_captions(family: Family, samples: Sequence[Sample]) -> list[str]:
    """A warning, naming them, where captions are longer than the text encoders read."""
    lost = unread(family, [sample.caption for sample in samples])
    named = [f'{sample.name} (not read: "{lost[sample.caption]}")' for sample in samples if sample.caption in lost]
    if not named:
        return []
    return [
        "Captions are longer than the text encoder reads, and what comes last in them is not learned. Shorten them: "
        f"{some(named)}"
    ]


def refuse_changes(old: RunConfig, new: RunConfig) -> None:
    """Raise ConfigError, with every difference, where a resumed run would not be the one that it continues."""
    refused = resume_refusals(old, new)
    if refused:
        listed = "\n".join(f"  {change}" for change in refused)
        raise ConfigError(
            f"--resume: the run was started with other settings:\n{listed}\nResume with the settings it was started "
            "with (`maquette train --resume --out RUN` takes them from the run), or start a new run with another --out."
        )


def contents(samples: Sequence[Sample]) -> dict[str, str]:
    """A digest of every picture with its caption and weight, by its name and concept: what a run learns from."""
    facts = ((s, f"{s.digest}/{s.caption}/{s.repeats}/{s.is_class}") for s in samples)
    return {f"{s.concept}/{s.name}": hashlib.sha256(fact.encode()).hexdigest()[:16] for s, fact in facts}


def refuse_other_pictures(saved: Mapping[str, str], samples: Sequence[Sample]) -> None:
    """Raise CheckpointError, naming them, where pictures or captions are not those of the checkpoint."""
    here = contents(samples)
    kinds = {
        "gone": saved.keys() - here.keys(),
        "new": here.keys() - saved.keys(),
        "changed": {name for name in saved.keys() & here.keys() if saved[name] != here[name]},
    }
    told = [
        f"{what}: {some(sorted(name.partition('/')[2] for name in names))}" for what, names in kinds.items() if names
    ]
    if told:
        raise CheckpointError(
            f"--resume: the pictures or captions are not those that the run was started with ({'; '.join(told)}). Put "
            "them back, or start a new run with another --out."
        )
