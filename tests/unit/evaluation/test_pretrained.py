"""CLIP, DINO and DINOv2 against transformers' own classes, and DINO's file against its paper's arithmetic."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.unit.evaluation import nets
from torch import Tensor
from torch.nn import functional
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, CLIPTokenizer, ViTImageProcessorPil

from maquette.errors import ModelError
from maquette.evaluation.batches import Place
from maquette.evaluation.clip import open_clip
from maquette.evaluation.dino import open_dino
from maquette.evaluation.preparation import DINO
from maquette.evaluation.sources import Source

PICTURES = nets.noise((40, 40), (50, 34), (40, 40), (33, 90))
CPU = Place(torch.device("cpu"), batch=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    for kind in (nets.clip, nets.vit, nets.dinov2):
        kind(root / kind.__name__)
    return root


def source(path: Path) -> Source:
    return Source(path, path.name)


def pixels(processor: object) -> Tensor:
    arrays = [picture.permute(1, 2, 0).numpy() for picture in PICTURES]
    return processor(arrays, return_tensors="pt")["pixel_values"]


@torch.no_grad()
def test_clip_sees_and_reads_as_transformers_does(folders: Path, tmp_path: Path):
    model, folder = nets.clip(tmp_path), folders / "clip"
    found = open_clip(source(folder), CPU)
    words = CLIPTokenizer.from_pretrained(folder)
    texts = ["a red mug", "a photo of a cat on the beach", "red"]
    inputs = {"pixel_values": pixels(CLIPImageProcessorPil.from_pretrained(folder))}
    inputs |= words(texts, padding=True, return_tensors="pt")
    expected = model(**inputs)
    torch.testing.assert_close(found.pictures.directions(PICTURES), expected.image_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.directions_of_texts(texts), expected.text_embeds, rtol=0, atol=1e-5)
    assert found.pictures.name == "CLIP ViT-32/8 (clip)"


@torch.no_grad()
def test_dino_is_the_class_token_behind_the_last_norm(folders: Path, tmp_path: Path):
    model = nets.vit(tmp_path)
    expected = model(pixels(ViTImageProcessorPil.from_pretrained(tmp_path))).last_hidden_state[:, 0]
    found = open_dino(source(folders / "vit"), CPU)
    torch.testing.assert_close(found.features(PICTURES), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.directions(PICTURES), functional.normalize(expected), rtol=0, atol=1e-5)
    assert found.name == "ViT-32/8 (vit)"


@torch.no_grad()
def test_dinov2_is_its_pooled_output(folders: Path, tmp_path: Path):
    model = nets.dinov2(tmp_path)
    expected = model(pixels(BitImageProcessorPil.from_pretrained(tmp_path))).pooler_output
    found = open_dino(source(folders / "dinov2"), CPU)
    torch.testing.assert_close(found.features(PICTURES), expected, rtol=0, atol=1e-5)


def dino_weights() -> dict[str, Tensor]:
    """The authors' layout, for 224 pixels in patches of 56, one head of 64."""
    shapes = {"cls_token": (1, 1, 64), "pos_embed": (1, 17, 64), "patch_embed.proj.weight": (64, 3, 56, 56)}
    shapes |= {"patch_embed.proj.bias": (64,), "norm.weight": (64,), "norm.bias": (64,)}
    for block in ("blocks.0", "blocks.1"):
        layers = {"norm1": (64,), "norm2": (64,), "attn.qkv": (192, 64), "attn.proj": (64, 64)}
        layers |= {"mlp.fc1": (128, 64), "mlp.fc2": (64, 128)}
        for name, shape in layers.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
    rng = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def vision_transformer(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Dosovitskiy et al. 2020 (arXiv 2010.11929), equations 1 to 4, with one head."""

    def norm(name: str, y: Tensor) -> Tensor:
        return functional.layer_norm(y, (64,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    patches = functional.conv2d(x, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=56)
    tokens = torch.cat([weights["cls_token"].expand(len(x), 1, 64), patches.flatten(2).mT], 1) + weights["pos_embed"]
    for block in ("blocks.0", "blocks.1"):
        q, k, v = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", tokens)).split(64, 2)
        tokens = tokens + linear(f"{block}.attn.proj", (q @ k.mT / 8).softmax(2) @ v)
        hidden = functional.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", tokens)))
        tokens = tokens + linear(f"{block}.mlp.fc2", hidden)
    return norm("norm", tokens)[:, 0]


@pytest.mark.parametrize("layout", ["backbone", "checkpoint"])
def test_dino_is_read_from_its_authors_files(tmp_path: Path, layout: str):
    weights = dino_weights()
    named = {f"module.backbone.{name}": t for name, t in weights.items()} if layout == "checkpoint" else weights
    named |= {"head.last.weight": torch.ones(2, 2)} if layout == "checkpoint" else {}
    save_file(named, tmp_path / "dino_small.safetensors")
    found = open_dino(source(tmp_path / "dino_small.safetensors"), CPU)
    expected = vision_transformer(weights, torch.stack([DINO(picture) for picture in PICTURES]))
    torch.testing.assert_close(found.features(PICTURES), expected, rtol=0, atol=1e-4)
    assert found.name == "ViT-64/56 (dino_small.safetensors)"


def test_half_precision_is_close_and_has_its_own_fingerprint(folders: Path):
    whole = open_dino(source(folders / "vit"), CPU)
    half = open_dino(source(folders / "vit"), Place(torch.device("cpu"), torch.bfloat16))
    assert half.features(PICTURES).dtype == torch.float32
    assert (whole.directions(PICTURES) * half.directions(PICTURES)).sum(1).min() > 0.999
    assert whole.fingerprint != half.fingerprint
    assert whole.fingerprint == open_dino(source(folders / "vit"), CPU).fingerprint


def changed(folder: Path, copy: Path) -> Path:
    return Path(shutil.copytree(folder, copy))


def spoiled(folder: Path, name: str, **values: object) -> Path:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | values))
    return folder


def without(folder: Path, *names: str) -> Path:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name not in names}, folder / "model.safetensors")
    return folder


MISTAKES = {
    "another kind": ("vit", lambda f: spoiled(f, "config.json", model_type="resnet"), 'of the kind "resnet"; known'),
    "missing": ("vit", lambda f: without(f, "layernorm.weight"), "it lacks layernorm.weight. Get it again"),
    "deeper": ("vit", lambda f: spoiled(f, "config.json", num_hidden_layers=3), "lacks "),
    "impossible": ("dinov2", lambda f: spoiled(f, "config.json", num_hidden_layers="two"), "describes no network"),
    "shallower": ("vit", lambda f: spoiled(f, "config.json", num_hidden_layers=1), "which belong nowhere"),
    "other sizes": ("vit", lambda f: spoiled(f, "preprocessor_config.json", size=48), "makes pictures of 48 pixels"),
    "no config": ("vit", lambda f: (f / "config.json").unlink() or f, "has no config.json"),
    "no weights": ("vit", lambda f: (f / "model.safetensors").unlink() or f, "has no weights"),
    "a file of something else": ("vit", lambda f: f / "model.safetensors", "is no DINO of its authors"),
    "a file that is no weights": ("vit", lambda f: f / "config.json", "is no file of weights"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_no_such_network_is_refused(folders: Path, tmp_path: Path, mistake: str):
    kind, spoil, message = MISTAKES[mistake]
    path = spoil(changed(folders / kind, tmp_path / "copy"))
    with pytest.raises(ModelError, match=message):
        open_dino(source(path), CPU)


def test_what_is_no_clip_is_refused(folders: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="is no CLIP in transformers' layout"):
        open_clip(source(folders / "vit"), CPU)
    words = changed(folders / "clip", tmp_path / "mute")
    for file in words.glob("*"):
        if file.name.startswith(("tokenizer", "vocab", "merges")):
            file.unlink()
    with pytest.raises(ModelError, match="has no vocabulary"):
        open_clip(source(words), CPU)
