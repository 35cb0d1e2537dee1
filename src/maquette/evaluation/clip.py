"""CLIP: pictures and sentences in one space."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from maquette.errors import ModelError
from maquette.evaluation import preparation
from maquette.evaluation.batches import Place
from maquette.evaluation.pretrained import PictureNetwork, architecture, check_side, kind_of, load_model, read_config
from maquette.evaluation.sources import Source, fingerprint, read_weights
from maquette.families.parts import read_tokenizer
from maquette.families.text import tokenize, with_special_tokens


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """CLIP: pictures and sentences in one space."""

    pictures: PictureNetwork
    read: Callable[[Sequence[str]], Float[Tensor, "n d"]]

    def directions_of_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """One vector of length 1 for each text; what a long one loses is reported."""
        with torch.inference_mode():
            return functional.normalize(self.read(texts).float().cpu(), dim=1)


def open_clip(source: Source, place: Place) -> Clip:
    """CLIP from a folder in transformers' layout with its tokenizer. Raises ModelError where it is none, or damaged."""
    folder = source.path
    if kind_of(source) != "clip":
        raise ModelError(
            f"{folder}: is no CLIP in transformers' layout, which is a folder with config.json, model.safetensors and "
            'the tokenizer. Give one, or a hub id such as "openai/clip-vit-base-patch32".'
        )
    tokenizer = read_tokenizer(folder)
    config = read_config(CLIPConfig, folder)
    assert isinstance(config.text_config, CLIPTextConfig)
    assert isinstance(config.vision_config, CLIPVisionConfig)
    config.text_config = with_special_tokens(config.text_config, tokenizer)
    model = load_model(CLIPModel, config, read_weights(folder), str(folder)).to(place.device, place.dtype)
    prepare = preparation.read_preparation(folder, preparation.CLIP)
    check_side(config.vision_config.image_size, prepare, source)
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.text_config.max_position_embeddings)

    def see(pixels: Tensor) -> Tensor:
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

    def read(texts: Sequence[str]) -> Tensor:
        ids = tokenize(tokenizer, texts).to(place.device)
        return torch.cat([model.text_projection(model.text_model(part).pooler_output) for part in ids.split(64)])

    digest = fingerprint(model.state_dict(), prepare, _words(tokenizer))
    name = architecture("CLIP ViT", config.vision_config, source.label)
    return Clip(PictureNetwork(name, digest, prepare, see, place), read)


def _words(tokenizer: CLIPTokenizer) -> str:
    return " ".join(f"{word} {number}" for word, number in sorted(tokenizer.get_vocab().items()))
