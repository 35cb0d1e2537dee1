import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.evaluation.nets import PROCESSORS, noise
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, ViTImageProcessorPil

from maquette.errors import ModelError
from maquette.evaluation.inception import prepare
from maquette.evaluation.preparation import CLIP, DINO, IMAGENET_MEAN, IMAGENET_STD, Preparation, read_preparation

SIZES = ((64, 64), (300, 217), (217, 301), (224, 224), (31, 95), (500, 256))
CLASSES = {"clip": CLIPImageProcessorPil, "vit": ViTImageProcessorPil, "dinov2": BitImageProcessorPil}


def written(folder: Path, config: dict) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return folder


def check(prepared: Preparation, processor: object) -> None:
    for picture in noise(*SIZES):
        expected = processor(picture.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(prepared(picture), expected, rtol=0, atol=1e-6)


def test_clip_is_prepared_as_transformers_does(tmp_path: Path):
    check(CLIP, CLIPImageProcessorPil())
    assert read_preparation(tmp_path, CLIP) == CLIP  # a folder that says nothing


def test_dino_and_dinov2_are_prepared_as_transformers_does():
    config = {"size": {"shortest_edge": 256}, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    check(DINO, BitImageProcessorPil(**config))


# Old files give numbers alone, and name the class as it was called then.
PUBLISHED = {
    "openai/clip-vit-large-patch14": (
        "clip",
        {
            "crop_size": 224,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
            "size": 224,
        },
    ),
    "facebook/dino-vits16": ("vit", {**PROCESSORS["vit"], "size": 224, "do_normalize": True, "do_resize": True}),
    "facebook/dinov2-base": (
        "dinov2",
        {
            **PROCESSORS["dinov2"],
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_files_are_read_as_transformers_reads_them(tmp_path: Path, name: str):
    kind, config = PUBLISHED[name]
    prepared = read_preparation(written(tmp_path, config), CLIP if kind == "clip" else DINO)
    check(prepared, CLASSES[kind].from_pretrained(tmp_path))
    assert prepared.side == 224


MISTAKES = {
    "no rescaling": ({"do_rescale": False}, "do_rescale"),
    "another scale": ({"rescale_factor": 0.5}, "rescale_factor"),
    "padding": ({"do_pad": True}, "do_pad"),
    "a crop that is larger": ({"size": {"shortest_edge": 10}, "crop_size": 20}, "crops 20 pixels out of 10"),
    "a crop that is no square": ({"crop_size": {"height": 3, "width": 4}}, "the crop is no square"),
    "a size in words": ({"size": "large"}, "does not say how"),
    "two colours": ({"image_mean": [0.5, 0.5]}, "does not say how"),
    "a size of nothing": ({"size": {}}, "does not say how"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, mistake: str):
    config, message = MISTAKES[mistake]
    with pytest.raises(ModelError, match=message):
        read_preparation(written(tmp_path, config), CLIP)


def test_inception_reads_bytes_around_128_at_299_pixels():
    flat = torch.tensor([0, 128, 255], dtype=torch.uint8)[:, None, None].expand(3, 40, 60)
    expected = torch.tensor([-1.0, 0.0, 127 / 128])
    torch.testing.assert_close(prepare(flat).amin((1, 2)), expected)
    torch.testing.assert_close(prepare(flat).amax((1, 2)), expected)
    # Halving exactly: an antialiased linear filter weighs 1, 3, 3, 1.
    large = noise((598, 598))[0]
    rows = np.stack([large[0, i : i + 4].double().numpy() for i in range(1, 595, 2)])
    expected = np.einsum("nij,i->nj", rows, np.array([1, 3, 3, 1]) / 8)
    columns = np.stack([expected[:, i : i + 4] @ (np.array([1, 3, 3, 1]) / 8) for i in range(1, 595, 2)], 1)
    found = prepare(large)[0, 1:-1, 1:-1].double() * 128 + 128
    torch.testing.assert_close(found, torch.from_numpy(columns), rtol=0, atol=1e-3)
