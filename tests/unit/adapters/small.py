"""Small random models with the shapes of SD 1, SD 2 and SDXL, and a family around them, for the adapters' tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from maquette.adapters.about import About
from maquette.adapters.attach import attach
from maquette.adapters.base import Trainable
from maquette.adapters.combined import Combined
from maquette.adapters.delta import Delta
from maquette.config.schema import RunConfig


@dataclass(frozen=True)
class Models:
    """As much of a family as adapters read: its name and modules."""

    name: str
    modules: Mapping[str, nn.Module]


def unet(kind: str) -> UNet2DConditionModel:
    """A UNet of about 50 layers; the SDXL one has levels without attention, and of depths 1 and 2."""
    torch.manual_seed(0)
    common = {"sample_size": 8, "layers_per_block": 1, "norm_num_groups": 4, "in_channels": 4, "out_channels": 4}
    if kind == "sdxl":
        return UNet2DConditionModel(
            **common,
            block_out_channels=(8, 16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(2, 2, 4),
            cross_attention_dim=24,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=4 * 6 + 12,
        )
    return UNet2DConditionModel(
        **common,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=12,
        use_linear_projection=kind == "sd2",
    )


def text_encoder(hidden: int = 12, *, projected: bool = False) -> nn.Module:
    """A CLIP text encoder of two layers."""
    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=50,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        projection_dim=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=48,
        eos_token_id=49,
        pad_token_id=49,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def models(kind: str = "sd1") -> Models:
    """A family's modules, in the mode that loading leaves them in."""
    modules: dict[str, nn.Module] = {"denoiser": unet(kind), "text_encoder": text_encoder()}
    if kind == "sdxl":
        modules["text_encoder_2"] = text_encoder(12, projected=True)
    for module in modules.values():
        module.eval()
    return Models("sdxl" if kind == "sdxl" else "sd", modules)


def forward(family: Models) -> torch.Tensor:
    """What the whole of a small family makes of fixed inputs: the denoiser's output, given its own text encoders."""
    rng = torch.Generator().manual_seed(2)
    dtype = next(family.modules["denoiser"].parameters()).dtype
    ids = torch.randint(0, 48, (2, 8), generator=rng)
    x = torch.randn(2, 4, 8, 8, generator=rng).to(dtype)
    t = torch.tensor([10.0, 500.0])
    context = family.modules["text_encoder"](ids).last_hidden_state
    added = None
    if "text_encoder_2" in family.modules:
        second = family.modules["text_encoder_2"](ids, output_hidden_states=True)
        context = torch.cat([context, second.hidden_states[-2]], dim=-1)
        added = {"text_embeds": second.text_embeds.to(dtype), "time_ids": torch.ones(2, 6, dtype=dtype)}
    return family.modules["denoiser"](x, t, context.to(dtype), added_cond_kwargs=added).sample


ABOUT = About(title="dog", trigger="sks dog", size=(64, 64), date="2026-01-02", training={"seed": 0})


def trained(family: Models, adapter: Mapping[str, object], text: str = "lora") -> Trainable:
    """Attach what a configuration asks for, and move it as if it had been trained."""
    tree = {"adapter": dict(adapter), "text_encoder": {"train": text}}
    config = RunConfig.model_validate(tree)
    rng = torch.Generator().manual_seed(3)
    trainable = attach(config, family, steps=10, weight_decay=0.01, rng=rng)
    with torch.no_grad():
        for group in trainable.groups:
            for param in group.params:
                param.add_(0.05 * torch.randn(param.shape, generator=rng))
    return trainable


def updates(trainable: Trainable) -> Delta:
    """What all parts of a trainable do to the layers."""
    parts = trainable.parts if isinstance(trainable, Combined) else [trainable]
    return {place: update for part in parts for place, update in part.updates().items()}


def written(folder: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file with just these tensors."""
    path = folder / "adapter.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    return path
