"""LPIPS against torchmetrics' own class with its own published heads; the backbones are random and written twice."""

from pathlib import Path

import pytest
import torch
import torchmetrics
from PIL import Image
from safetensors.torch import save_file
from tests.unit.evaluation.nets import noise, random_weights
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as reference

from maquette.errors import DataError, ModelError
from maquette.evaluation.batches import Place
from maquette.evaluation.lpips import Lpips, open_lpips
from maquette.evaluation.sources import Source

HEADS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models"
CPU = Place(torch.device("cpu"), batch=2)
KINDS = ("alex", "squeeze", "vgg")


class Squeezed(nn.Module):
    def __init__(self, inputs: int, inner: int, out: int) -> None:
        super().__init__()
        self.squeeze, self.squeeze_activation = nn.Conv2d(inputs, inner, 1), nn.ReLU()
        self.expand1x1, self.expand1x1_activation = nn.Conv2d(inner, out, 1), nn.ReLU()
        self.expand3x3, self.expand3x3_activation = nn.Conv2d(inner, out, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


# A layer in a word: c<channels>k<kernel>s<stride>p<padding>, r(elu), m<kernel>(ax pool), f<inner>x<out> (SqueezeNet).
TABLES = {
    "alex": "c64k11s4p2 r m3 c192k5s1p2 r m3 c384k3s1p1 r c256k3s1p1 r c256k3s1p1 r m3",
    "squeeze": "c64k3s2p0 r m3 f16x64 f16x64 m3 f32x128 f32x128 m3 f48x192 f48x192 f64x256 f64x256",
    "vgg": "c64k3s1p1 r c64k3s1p1 r m2 c128k3s1p1 r c128k3s1p1 r m2 c256k3s1p1 r c256k3s1p1 r c256k3s1p1 r m2 "
    "c512k3s1p1 r c512k3s1p1 r c512k3s1p1 r m2 c512k3s1p1 r c512k3s1p1 r c512k3s1p1 r m2",
}


def features(kind: str) -> nn.Sequential:
    """The features of torchvision's classifiers."""
    layers, width = [], 3
    for word in TABLES[kind].split():
        numbers = [int(part) for part in "".join(c if c.isdigit() else " " for c in word).split()]
        match word[0]:
            case "c":
                layers.append(nn.Conv2d(width, numbers[0], numbers[1], numbers[2], numbers[3]))
                width = numbers[0]
            case "f":
                layers.append(Squeezed(width, *numbers))
                width = 2 * numbers[1]
            case "m":
                layers.append(nn.MaxPool2d(numbers[0], 2, ceil_mode=kind == "squeeze"))
            case _:
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def folder_of(kind: str, folder: Path) -> Path:
    network = features(kind)
    weights = {f"features.{name}": tensor for name, tensor in random_weights(network.state_dict()).items()}
    folder.mkdir(exist_ok=True)
    save_file(weights | {"classifier.1.weight": torch.ones(2, 2)}, folder / "backbone.safetensors")
    (folder / f"{kind}.pth").write_bytes((HEADS / f"{kind}.pth").read_bytes())
    return folder


def opened(path: Path) -> Lpips:
    return open_lpips(Source(path, path.name), CPU)


def as_the_contest(pictures: list[Tensor]) -> Tensor:
    """256x256 by Pillow's linear filter, in [-1, 1]."""
    images = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pictures]
    resized = [image.resize((256, 256), Image.Resampling.BILINEAR) for image in images]
    bytes_ = [torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in resized]
    return torch.stack([b.view(256, 256, 3).permute(2, 0, 1) for b in bytes_]).float() / 127.5 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_torchmetrics(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network = features(kind)
    network.load_state_dict(random_weights(network.state_dict()))
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_: network)
    oracle = reference._LPIPS(net=kind)
    ones, others = noise((64, 64), (300, 200), (64, 64)), noise((90, 64), (64, 64), (80, 80))
    if kind == "vgg":  # 40 GFLOP a pair
        ones, others = ones[1:2], others[1:2]
    with torch.no_grad():
        expected = oracle(as_the_contest(ones), as_the_contest(others)).flatten()
    found = opened(folder_of(kind, tmp_path))
    torch.testing.assert_close(found.distance(ones, others), expected, rtol=1e-4, atol=1e-6)
    assert found.name == f"LPIPS {kind} ({tmp_path.name})"


def test_a_picture_has_no_distance_from_itself_and_pairs_keep_their_order(tmp_path: Path):
    lpips = opened(folder_of("alex", tmp_path))
    pictures = noise(*[(64, 64)] * 5)
    ones = [a for a in pictures for _ in pictures]  # 25 pairs: more than are held at once
    found = lpips.distance(ones, pictures * 5).view(5, 5)
    torch.testing.assert_close(found, found.T)
    assert torch.equal(found.diagonal(), torch.zeros(5))
    assert found[~torch.eye(5, dtype=torch.bool)].min() > 0
    torch.testing.assert_close(lpips.distance([pictures[1]], [pictures[3]])[0], found[1, 3], rtol=1e-4, atol=1e-6)
    with pytest.raises(DataError, match="3 pictures cannot be paired with 2"):
        lpips.distance(pictures[:3], pictures[:2])


@pytest.mark.parametrize("slices", ["net.slice{}.", "net.slices.{}."])
def test_one_file_of_a_whole_lpips_is_the_same_network(tmp_path: Path, slices: str):
    apart = opened(folder_of("alex", tmp_path / "apart"))
    whole = {f"lin{i}.model.1.weight": weight.view(1, -1, 1, 1) for i, weight in enumerate(apart.taps.values())}
    for name, tensor in apart.layers.state_dict().items():
        whole[slices.format(sum(int(name.split(".")[0]) > tap for tap in apart.taps) + 1) + name] = tensor
    whole["scaling_layer.shift"] = torch.zeros(3)
    save_file(whole, tmp_path / "lpips.safetensors")
    assert opened(tmp_path / "lpips.safetensors").fingerprint == apart.fingerprint


def test_half_of_a_network_is_refused(tmp_path: Path):
    folder = folder_of("alex", tmp_path)
    (folder / "alex.pth").rename(tmp_path.parent / "alex.pth")
    with pytest.raises(ModelError, match=r"lacks the linear heads.*into one folder"):
        opened(folder)
    (folder / "squeeze.pth").write_bytes((HEADS / "squeeze.pth").read_bytes())
    with pytest.raises(ModelError, match="lin1"):
        opened(folder)
    (folder / "backbone.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks a backbone"):
        opened(folder)
    (folder / "again.pth").write_bytes((HEADS / "squeeze.pth").read_bytes())
    with pytest.raises(ModelError, match="also in another file of this folder"):
        opened(folder)


def test_heads_below_zero_are_refused(tmp_path: Path):
    folder = folder_of("alex", tmp_path)
    (folder / "alex.pth").unlink()
    save_file(
        {f"lin{i}.model.1.weight": -torch.ones(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))},
        folder / "heads.safetensors",
    )
    with pytest.raises(ModelError, match="lin0, lin1, lin2, lin3, lin4 has weights below 0"):
        opened(folder)
