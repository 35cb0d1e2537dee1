"""The layouts of base models, from their configs alone: names and shapes need no weights."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import TypeVar

from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from maquette.adapters.keys import Layout, layout_of
from maquette.families.kandinsky.prior import blank_prior
from maquette.families.load import detect, loader, locate
from maquette.families.parts import blank_unet
from maquette.families.published import own_config, published_config, read_header
from maquette.families.text import TextEncoder
from maquette.families.weights import blank, read_json

E = TypeVar("E", bound=TextEncoder)

ENCODERS = (CLIPTextModel, CLIPTextModelWithProjection)
"""The classes of a family's first and second text encoder."""

PUBLISHED = {"Stable Diffusion 1": "sd1", "Stable Diffusion 2": "sd2", "SDXL": "sdxl"}
"""Families whose configs come with the package; versions of one differ in nothing that an adapter sees."""


def published_layouts() -> Iterator[tuple[str, Layout]]:
    """Name and layout of each published family."""
    for title, name in PUBLISHED.items():
        config = json.loads((files("maquette.families") / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        yield title, layout_from(config["unet"], config["text_encoders"], f"{name}.json")


def layout_of_base(base: str) -> Layout:
    """The layout of a base model: an embedded name, a folder, a single file or a hub id.

    Raises ModelError where there is no such base, or it is of a family that is not known.
    """
    path = locate(base)
    if path.is_file():
        header = read_header(path)
        config = own_config(header) or published_config(header)
        return layout_from(config["unet"], config["text_encoders"], str(path))
    loader(detect(path))  # raises for a family that is not known
    if (path / "prior").is_dir():
        config, where = read_json(path / "text_encoder" / "config.json"), str(path)
        texts = {"text_encoder": blank_encoder(CLIPTextModelWithProjection, config, where)}
        return layout_of({"denoiser": blank_prior(path / "prior"), **texts})
    encoders = [folder for folder in (path / "text_encoder", path / "text_encoder_2") if folder.is_dir()]
    configs = [read_json(folder / "config.json") for folder in encoders]
    return layout_from(read_json(path / "unet" / "config.json"), configs, str(path))


def layout_from(unet: Mapping[str, object], encoders: Sequence[Mapping[str, object]], where: str) -> Layout:
    """The layout that a denoiser's config and those of its text encoders come to."""
    modules: dict[str, nn.Module] = {"denoiser": blank_unet(unet, where)}
    for name, kind, config in zip(("text_encoder", "text_encoder_2"), ENCODERS, encoders, strict=False):
        modules[name] = blank_encoder(kind, config, where)
    return layout_of(modules)


def blank_encoder(kind: type[E], config: Mapping[str, object], where: str) -> E:
    """A text encoder of a config, without weights."""
    return blank(lambda: kind(CLIPTextConfig.from_dict(dict(config))), where)
