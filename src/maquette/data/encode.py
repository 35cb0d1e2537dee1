"""Pictures and captions -> what the denoiser is given, through a family's frozen modules and a cache."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from maquette.data.cache import Cache, Entry, fingerprint, key_of
from maquette.data.image import decode, show
from maquette.data.sample import Sample
from maquette.data.view import View, geometry
from maquette.errors import ModelError
from maquette.families.base import Family
from maquette.types import Conditioning, ImageCode, Tokens

Role = Literal["denoiser", "text", "image", "prompts"]

CONDITIONING = "cond."


@dataclass(frozen=True, slots=True)
class Encoders:
    """The frozen side of a family, behind a cache.

    image_key, text_key: fingerprints of what encodes pictures and captions.
    """

    family: Family
    cache: Cache
    device: torch.device
    image_key: str
    text_key: str
    _text_keys: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def image(self, sample: Sample, view: View, *, keep: bool) -> ImageCode:
        """The code of one picture as one view shows it, batch of one; not looked up nor kept unless ``keep``.

        Raises DataError where the file has changed since it was scanned, ModelError where the code is not finite.
        """
        if not keep:
            return _code(self._encoded(sample, view))
        cut = {"size": view.size, "crop": view.crop, "flip": view.flip}
        facts = {"picture": sample.digest, "encoder": self.image_key, **cut}
        return _code(self.cache.get(key_of("image", facts), lambda: self._encoded(sample, view)))

    def text(self, caption: str, *, keep: bool) -> Conditioning:
        """The conditioning of one caption, batch of one. What is kept is tokenized once: steps ask for it again."""
        if not keep:
            return self._embedded(self.family.tokenize([caption]))
        if caption not in self._text_keys:
            tokens = self.family.tokenize([caption])
            facts = {f"tokens.{name}": tuple(ids.flatten().tolist()) for name, ids in tokens.items()}
            self._text_keys[caption] = key_of("text", facts | {"encoder": self.text_key})
        return self.cache.get(self._text_keys[caption], lambda: self._embedded(self.family.tokenize([caption])))

    @torch.no_grad()
    def _encoded(self, sample: Sample, view: View) -> dict[str, Tensor]:
        shown = torch.tensor(show(decode(sample.read(), sample.name), view))
        pixels = shown.permute(2, 0, 1).to(self.device).float() / 127.5 - 1
        numbers = torch.tensor(geometry(sample.size, view), device=self.device)
        code = self.family.encode_images(pixels[None], numbers[None])
        entry = {"mean": code.mean} | {f"{CONDITIONING}{name}": tensor for name, tensor in code.cond.items()}
        if code.std is not None:
            entry["std"] = code.std
        broken = [name for name, tensor in entry.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            cure = 'Set model.precision = "fp32", or give an autoencoder made for half precision as model.vae.'
            raise ModelError(f"{sample.name}: its code is not finite ({', '.join(broken)}). {cure}")
        return entry

    @torch.no_grad()
    def _embedded(self, tokens: Tokens) -> dict[str, Tensor]:
        return dict(self.family.embed_text({name: ids.to(self.device) for name, ids in tokens.items()}))


def role(name: str) -> Role:
    """What a module of a family is for, by its name.

    "text": conditioning of captions. "prompts": pictures of prompts alone, so that training does without. "image":
    codes of pictures, which all others make.
    """
    if name == "denoiser":
        return "denoiser"
    if name.startswith("text_encoder"):
        return "text"
    return "prompts" if name.startswith(("prior", "decoder")) else "image"


def encoders(family: Family, cache: Cache, device: torch.device, *, clip_skip: int = 0) -> Encoders:
    """The frozen side of a family. To be made before adapters are attached, whose weights are not part of it."""
    text = {name: module for name, module in family.modules.items() if role(name) == "text"}
    image = {name: module for name, module in family.modules.items() if role(name) == "image"}
    return Encoders(
        family,
        cache,
        device,
        image_key=fingerprint(image, {"family": family.name}),
        text_key=fingerprint(text, {"family": family.name, "clip_skip": clip_skip}),
    )


def _code(entry: Entry) -> ImageCode:
    cond = {k.removeprefix(CONDITIONING): tensor for k, tensor in entry.items() if k.startswith(CONDITIONING)}
    return ImageCode(entry["mean"], entry.get("std"), cond)


def collated(codes: Sequence[ImageCode], device: torch.device) -> ImageCode:
    """Several codes as one batch on a device. They must have the same shapes, names, and either all a std or none."""
    stds = [code.std.to(device) for code in codes if code.std is not None]
    return ImageCode(
        torch.cat([code.mean.to(device) for code in codes]),
        torch.cat(stds) if stds else None,
        concatenated([code.cond for code in codes], device),
    )


def concatenated(conds: Sequence[Conditioning], device: torch.device) -> dict[str, Tensor]:
    """Several conditionings as one batch on a device."""
    return {name: torch.cat([cond[name].to(device) for cond in conds]) for name in conds[0]}
