"""Tiny networks with random weights, in the layouts of the published ones."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from tests.contract.tiny import tokenizer
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model, PreTrainedModel, ViTConfig, ViTModel

from maquette.families.quiet import without_bars

SIDE = 32
PROCESSORS = {
    "clip": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}, "crop_size": SIDE},
    "vit": {
        "feature_extractor_type": "ViTFeatureExtractor",
        "size": SIDE,
        "resample": 2,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 40},
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def save(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    with without_bars():
        model.save_pretrained(folder)
    processor = PROCESSORS[model.config.model_type]
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model.eval()


def clip(folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    words = tokenizer()
    words.save_pretrained(folder)
    text = {**LAYERS, "vocab_size": len(words), "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id}
    vision = {**LAYERS, "image_size": SIDE, "patch_size": 8}
    return save(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)), folder)


def vit(folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    config = ViTConfig(**LAYERS, image_size=SIDE, patch_size=8)
    return save(ViTModel(config, add_pooling_layer=False), folder)


def dinov2(folder: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    # Positions for another size than pictures are prepared at, as the published ones have.
    settings = {name: value for name, value in LAYERS.items() if name != "intermediate_size"}
    return save(Dinov2Model(Dinov2Config(**settings, mlp_ratio=2, image_size=56, patch_size=8)), folder)


def noise(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=rng) for size in sizes]


def random_weights(shapes: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that keep signals at about their size, the same for the same names and shapes."""
    rng = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in sorted(shapes.items()):
        draw = torch.randn(tensor.shape, generator=rng)
        if draw.ndim == 4:
            draw *= (2 / draw[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            draw = draw.abs() + 0.5
        else:
            draw = 0.1 * draw + (1 if name.endswith("bn.weight") else 0)
        weights[name] = draw
    return weights


def write_pickled(file: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """A file as torch writes them."""
    torch.save(dict(weights), file)
