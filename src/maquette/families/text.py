"""Captions to what CLIP's text encoders make of them; shared by Stable Diffusion 1, 2 and XL."""

import logging
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from maquette.errors import DataError, ModelError
from maquette.families.base import Family

logger = logging.getLogger(__name__)

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Int[Tensor, "b t"]:
    """Token ids with start and end, cut and padded as the pipelines do.

    What a long caption loses is reported, once for each caption. Raises DataError when there is no caption.
    """
    if not captions:
        raise DataError("there is no caption to encode; give at least one, which may be the empty text.")
    for caption in captions:
        if lost := lost_words(tokenizer, caption):
            _report_cut(caption, lost, tokenizer.model_max_length - 2)
    length = tokenizer.model_max_length
    padded = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return torch.as_tensor(padded["input_ids"])


def lost_words(tokenizer: CLIPTokenizer, caption: str) -> str:
    """What of a caption lies behind the last token that the encoder reads; "" where all of it is read."""
    ids = tokenizer([caption], verbose=False)["input_ids"][0]
    return str(tokenizer.decode(ids[tokenizer.model_max_length - 1 : -1]))


def unread(family: Family, captions: Sequence[str]) -> dict[str, str]:
    """Of captions that are too long for a family's text encoders, what is not read of each."""
    parts = family.pipeline().components.values()
    words = next((part for part in parts if isinstance(part, CLIPTokenizer)), None)
    if words is None:
        return {}
    lost = {caption: lost_words(words, caption) for caption in dict.fromkeys(captions)}
    return {caption: text for caption, text in lost.items() if text}


@lru_cache(maxsize=4096)
def _report_cut(caption: str, lost: str, length: int) -> None:
    logger.warning(
        'A prompt has more than the %d tokens that the text encoder reads. Not read: "%s" of "%s". Shorten it, or put '
        "what matters first.",
        length,
        lost,
        caption,
    )


def last_states(encoder: CLIPTextModel, ids: Int[Tensor, "b t"], clip_skip: int = 0) -> Float[Tensor, "b t d"]:
    """The last hidden state behind the final layer norm, as Stable Diffusion 1 and 2 take it.

    clip_skip: how many of the last layers to leave out; the final layer norm stays.
    """
    ids = ids.to(encoder.device)
    if not clip_skip:
        return encoder(ids).last_hidden_state
    states = encoder(ids, output_hidden_states=True).hidden_states
    return encoder.final_layer_norm(states[-(clip_skip + 1)])


def penultimate_states(
    encoder: TextEncoder, ids: Int[Tensor, "b t"], clip_skip: int = 0
) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b p"]]:
    """The last hidden state but one, without a layer norm, and the end token: projected, where there is a projection.

    clip_skip: how many layers to leave out beyond that one. This is how SDXL takes it.
    """
    output = encoder(ids.to(encoder.device), output_hidden_states=True)
    pooled = output.text_embeds if isinstance(encoder, CLIPTextModelWithProjection) else output.pooler_output
    return output.hidden_states[-(clip_skip + 2)], pooled


def check_clip_skip(clip_skip: int, encoder: TextEncoder) -> None:
    """Raise ModelError where fewer than one of the encoder's layers would be left."""
    layers = encoder.config.num_hidden_layers
    if not 0 <= clip_skip < layers:
        raise ModelError(f"clip_skip = {clip_skip}: a text encoder has {layers} layers; allowed are 0 to {layers - 1}.")


def with_special_tokens(config: CLIPTextConfig, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """The config with the tokenizer's own start and end tokens; call it before the encoder is built.

    Old configs say eos_token_id = 2, which makes transformers pool at the highest id: the wrong token as soon as a
    token is added behind the end token. Setting it on a built encoder changes nothing.
    """
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    return config
