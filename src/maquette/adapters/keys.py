"""What adapter files call the layers of a family: the names we write, and all the spellings we read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from maquette.adapters.delta import Place
from maquette.adapters.targets import configuration, is_prior, leaves
from maquette.families.ldm import ldm_path

Dialect = Literal["kohya", "diffusers"]

TEXT_BODY = "text_model."
"""Where a text encoder's layers live in files; transformers 5 drops it from models without a projection."""

LDM = ("sd_v1", "sd_v2", "sdxl_base_v1-0")
"""Bases whose layers also have names in the original code of latent diffusion."""

PRIOR = "prior"
"""What diffusers calls a prior; kohya knows none, so that its dialect is continued in its own manner."""

PRIOR_TEXT = "prior_text_encoder"
"""What a decoder calls the text encoder of the prior beside it, which files call text_encoder, as the prior does."""

OLD_TEXT = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
"""Diffusers' first names of a text encoder's projections."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The layers of a family that an adapter may change, and their names in files.

    version: what kohya's metadata calls the base: sd_v1, sd_v2 or sdxl_base_v1-0; for bases that kohya does not know, a
    name in the same manner. component: what diffusers calls each module in a file.
    """

    shapes: Mapping[Place, torch.Size]
    kohya: Mapping[Place, str]
    diffusers: Mapping[Place, str]
    aliases: Mapping[str, Place]
    component: Mapping[str, str]
    version: str


def layout_of(modules: Mapping[str, nn.Module]) -> Layout:
    """The layout of a family, from its modules; they may be on the meta device, since only names and shapes count."""
    config = configuration(modules["denoiser"])
    is_sdxl = config.get("addition_embed_type") == "text_time"
    texts = {name: name for name in modules if name.startswith("text_encoder")}
    texts |= {PRIOR_TEXT: "text_encoder"} if PRIOR_TEXT in modules else {}
    component = {"denoiser": PRIOR if is_prior(config) else "unet", **texts}
    version = version_of(config)
    component |= {PRIOR: PRIOR} if PRIOR in modules else {}
    shapes: dict[Place, torch.Size] = {}
    kohya: dict[Place, str] = {}
    diffusers: dict[Place, str] = {}
    aliases: dict[str, Place] = {}
    for module in component:
        for path, layer in leaves(modules[module]).items():
            place = Place(module, path)
            shapes[place] = layer.weight.shape
            if component[module] == PRIOR:
                spelled = prior_spellings(path)
                kohya[place], diffusers[place] = f"lora_prior_{flat(path)}", f"{PRIOR}.{path}"
            elif module == "denoiser":
                original = ldm_path(path, config) if version in LDM else None
                spelled = denoiser_spellings(path, original)
                kohya[place] = "lora_unet_" + flat((original if is_sdxl else None) or path)
                diffusers[place] = f"unet.{path}"
            else:
                body = path.removeprefix(TEXT_BODY)
                spelled = text_spellings(texts[module], body, alone=len(texts) == 1)
                kohya[place], diffusers[place] = text_names(texts[module], body, alone=len(texts) == 1)
            for name in spelled:  # one without a module's name may be of the denoiser and of what stands beside it
                aliases.setdefault(name, place)
    return Layout(shapes, kohya, diffusers, aliases, component, version)


def version_of(config: Mapping[str, object]) -> str:
    """What metadata calls a base, told by its denoiser's configuration."""
    if is_prior(config):
        return "kandinsky22_prior"
    if config.get("addition_embed_type") == "image":
        return "kandinsky22_decoder"
    if config.get("addition_embed_type") == "text_time":
        return "sdxl_base_v1-0"
    return "sd_v2" if config.get("cross_attention_dim") == 1024 else "sd_v1"


def flat(path: str) -> str:
    """A path as kohya's files spell it."""
    return path.replace(".", "_")


def prior_spellings(path: str) -> Iterator[str]:
    """Every spelling of a prior's layer: ours in kohya's manner, diffusers', and peft's own.

    The scripts of diffusers and PaddleMIX save a prior's layers with the function for a UNet's, and so under its name.
    """
    yield from (f"lora_prior_{flat(path)}", f"lycoris_{flat(path)}")
    for name in (path, *old_spellings(path)):
        yield from (name, f"{PRIOR}.{name}", f"unet.{name}")


def denoiser_spellings(path: str, original: str | None) -> Iterator[str]:
    """Every spelling of a denoiser's layer, in the names of diffusers and in the original ones."""
    for name in (path, original):
        if name is not None:
            yield from (f"lora_unet_{flat(name)}", f"lycoris_{flat(name)}")
    if original is not None:
        yield from (f"diffusion_model.{original}", f"model.diffusion_model.{original}")
    for name in (path, *old_spellings(path)):
        yield from (name, f"unet.{name}")


def old_spellings(path: str) -> Iterator[str]:
    """Diffusers' first names of an attention's projection, none of other layers.

    The projections were parts of a processor, and that of the output was without its ".0".
    """
    block, _, projection = path.removesuffix(".0").rpartition(".")
    if projection.startswith(("to_", "add_")):
        yield from (
            f"{block}.{projection}",
            f"{block}.processor.{projection}",
            f"{block}.processor{path[len(block) :]}",
        )


def text_names(module: str, body: str, *, alone: bool) -> tuple[str, str]:
    """What we write for a text encoder's layer: in kohya's dialect and in diffusers'."""
    prefix = "lora_te_" if alone else "lora_te1_" if module == "text_encoder" else "lora_te2_"
    inside = body if body == "text_projection" else TEXT_BODY + body
    return prefix + flat(inside), f"{module}.{inside}"


def text_spellings(module: str, body: str, *, alone: bool) -> Iterator[str]:
    """Every spelling of a text encoder's layer. alone: the family has no second one, so that no name need tell."""
    second = module == "text_encoder_2"
    prefixes = ["lora_te2_" if second else "lora_te1_"] + (["lora_te_"] if alone else [])
    block, _, leaf = body.rpartition(".")
    bodies = [body] + ([f"{block}.{OLD_TEXT[leaf]}"] if leaf in OLD_TEXT else [])
    for inside in [name for b in bodies for name in (b, TEXT_BODY + b)]:
        yield from (prefix + flat(inside) for prefix in prefixes)
        yield f"{module}.{inside}"
        yield f"text_encoders.clip_{'g' if second else 'l'}.transformer.{inside}"
        if alone:
            yield inside
