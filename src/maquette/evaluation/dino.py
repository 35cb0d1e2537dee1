"""DINO and DINOv2 from transformers' folders, and DINO from the files that its authors published."""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from maquette.errors import ModelError
from maquette.evaluation import preparation
from maquette.evaluation.batches import Place
from maquette.evaluation.preparation import Preparation, read_preparation
from maquette.evaluation.pretrained import PictureNetwork, architecture, check_side, kind_of, load_model, read_config
from maquette.evaluation.sources import Source, fingerprint, read_weights


def open_dino(source: Source, place: Place) -> PictureNetwork:
    """DINO or DINOv2 from a folder in transformers' layout, or DINO from a file of its authors.

    DINO's vector is its class token behind the last layer norm; DINOv2's is its pooled output, which is the same thing.
    Raises ModelError where it is another network, or damaged.
    """
    match kind_of(source):
        case "vit":
            config = read_config(ViTConfig, source.path)
            prepare = read_preparation(source.path, preparation.DINO)
            return _open_vit(config, read_weights(source.path), prepare, source, place)
        case "dinov2":
            return _open_dinov2(source, place)
        case "file":
            return _open_dino_file(source, place)
        case kind:
            raise ModelError(
                f'{source.path}: holds a network of the kind "{kind}"; known are clip, dinov2 and vit (which is '
                "DINO's). Give one of these."
            )


def _open_vit(
    config: ViTConfig, tensors: Mapping[str, Tensor], prepare: Preparation, source: Source, place: Place
) -> PictureNetwork:
    # DINO's pooler was never trained; heads of other tasks are not looked at either.
    kept = {name.removeprefix("vit."): tensor for name, tensor in tensors.items() if not _HEADS.match(name)}
    check_side(config.image_size, prepare, source)
    model = load_model(ViTModel, config, kept, str(source.path), {"add_pooling_layer": False})
    model.to(place.device, place.dtype)

    def see(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels).last_hidden_state[:, 0]

    name = architecture("ViT", config, source.label)
    return PictureNetwork(name, fingerprint(model.state_dict(), prepare), prepare, see, place)


def _open_dinov2(source: Source, place: Place) -> PictureNetwork:
    config = read_config(Dinov2Config, source.path)
    tensors = read_weights(source.path)
    model = load_model(Dinov2Model, config, tensors, str(source.path)).to(place.device, place.dtype)
    prepare = read_preparation(source.path, preparation.DINO)

    def see(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels).pooler_output

    name = architecture("DINOv2 ViT", config, source.label)
    return PictureNetwork(name, fingerprint(model.state_dict(), prepare), prepare, see, place)


def _open_dino_file(source: Source, place: Place) -> PictureNetwork:
    tensors = {_BACKBONE.sub("", name): tensor for name, tensor in read_weights(source.path).items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    if "blocks.0.ls1.gamma" in tensors or "blocks.0.attn.qkv.weight" not in tensors:
        raise ModelError(
            f"{source.path}: is no DINO of its authors (dino_deitsmall16_pretrain.pth and the like). Give one, or a "
            "folder in transformers' layout, as there are for CLIP and DINOv2."
        )
    try:
        patches, positions = tensors["patch_embed.proj.weight"], tensors["pos_embed"]
        width, patch = patches.shape[0], patches.shape[-1]
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=1 + max(int(match[1]) for name in tensors if (match := _BLOCK.match(name))),
            num_attention_heads=max(width // 64, 1),
            intermediate_size=tensors["blocks.0.mlp.fc1.weight"].shape[0],
            patch_size=patch,
            image_size=round((positions.shape[1] - 1) ** 0.5) * patch,
            layer_norm_eps=1e-6,
        )
    except (KeyError, IndexError) as error:
        raise ModelError(f"{source.path}: lacks tensors of DINO ({error}). Get it again.") from error
    named = dict(part for name, tensor in tensors.items() for part in _vit_names(name, tensor))
    return _open_vit(config, named, preparation.DINO, source, place)


_BACKBONE: Final = re.compile(r"^(?:module\.)?(?:backbone\.)?")
_BLOCK: Final = re.compile(r"blocks\.(\d+)\.")
_HEADS: Final = re.compile(r"(?:vit\.)?pooler\.|classifier\.")
_OWN_NAMES: Final = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "norm": "layernorm",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def _vit_names(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """A tensor of the authors' DINO under the names that transformers' folders have; one for q, k and v gives three."""
    block = _BLOCK.match(name)
    prefix, rest = (f"encoder.layer.{block[1]}.", name[block.end() :]) if block else ("", name)
    layer, _, leaf = rest.rpartition(".")
    if rest in _OWN_NAMES:
        return [(_OWN_NAMES[rest], tensor)]
    if layer == "attn.qkv":
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return [(f"{prefix}attention.attention.{part}.{leaf}", value) for part, value in parts]
    return [(f"{prefix}{_OWN_NAMES.get(layer, layer)}.{leaf}", tensor)]
