"""The detector on a drawn face; the network is one matrix, written as ONNX byte by byte."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.unit.evaluation.nets import noise
from torch import Tensor

from maquette.config.networks import NetworksConfig
from maquette.errors import DataError, MissingDependencyError, ModelError
from maquette.evaluation.face_network import FaceNetwork, open_face_network
from maquette.evaluation.networks import open_networks
from maquette.evaluation.sources import Source

SIDE, WIDTH = 8, 4


def drawn_face(side: int, skin: tuple[int, int, int] = (205, 170, 150)) -> np.ndarray:
    """A face from the front as a few soft ellipses: what Haar's features look for is where it is dark and light."""
    image = np.full((side, side, 3), 90, np.uint8)

    def ellipse(x: int, y: int, a: int, b: int, colour: Sequence[int], angles: tuple[int, int] = (0, 360)) -> None:
        place, axes = (x * side // 200, y * side // 200), (a * side // 200, b * side // 200)
        cv2.ellipse(image, place, axes, 0, *angles, colour, -1)

    ellipse(100, 100, 58, 76, skin)
    ellipse(100, 45, 60, 35, (50, 35, 30), (180, 360))
    for x in (76, 124):
        ellipse(x, 90, 16, 9, (120, 85, 75))
        ellipse(x, 91, 12, 6, (235, 235, 235))
        ellipse(x, 91, 6, 6, (30, 25, 20))
        ellipse(x, 74, 18, 5, (50, 35, 30), (180, 360))
    ellipse(100, 112, 7, 18, (225, 190, 170))
    ellipse(100, 128, 12, 4, (150, 105, 95))
    ellipse(100, 148, 24, 7, (140, 60, 60))
    return cv2.GaussianBlur(image, (0, 0), side / 100)


def as_picture(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A message of protocol buffers, from numbers of fields and their values."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            content = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(content)) + content)
    return b"".join(parts)


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    dims = [message((1, side) if isinstance(side, int) else (2, side)) for side in shape]
    tensor = message((1, 1), (2, message(*((1, dim) for dim in dims))))
    return message((1, name), (2, message((1, tensor))))


def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3 * SIDE * SIDE, WIDTH)).astype(np.float32)


def write_onnx(file: Path, shape: Sequence[int | str]) -> Path:
    """Flatten, then a product with ``matrix``."""
    weights = message((1, 3 * SIDE * SIDE), (1, WIDTH), (2, 1), (8, "weights"), (9, matrix().tobytes()))
    flat = message((1, "picture"), (2, "flat"), (4, "Flatten"))
    product = message((1, "flat"), (1, "weights"), (2, "vector"), (4, "MatMul"))
    graph = message(
        (1, flat),
        (1, product),
        (2, "faces"),
        (5, weights),
        (11, value_info("picture", shape)),
        (12, value_info("vector", (1, WIDTH))),
    )
    file.write_bytes(message((1, 8), (7, graph), (8, message((1, ""), (2, 13)))))
    return file


@pytest.fixture
def network(tmp_path: Path) -> FaceNetwork:
    return opened(write_onnx(tmp_path / "face.onnx", (1, 3, SIDE, SIDE)))


def opened(path: Path, **settings: str) -> FaceNetwork:
    given = {"values": "-1..1", "channels": "rgb", **settings}
    return open_face_network(Source(path, path.name), **given)


def test_a_face_is_found_and_the_largest_counts(network: FaceNetwork):
    canvas = np.full((260, 420, 3), 90, np.uint8)
    canvas[20:140, 10:130] = drawn_face(120)
    canvas[30:230, 180:380] = drawn_face(200, (160, 120, 100))
    boxes = network.find(canvas)
    assert len(boxes) == 2
    left, top, width, height = max(boxes, key=lambda box: box[2])
    assert 180 <= left < left + width <= 380
    assert 30 <= top < top + height <= 230
    nothing, two, one = network.faces([noise((120, 120))[0], as_picture(canvas), as_picture(drawn_face(200))])
    assert nothing is None
    assert two is not None
    assert one is not None
    torch.testing.assert_close(two.norm(), torch.tensor(1.0))
    alone = np.full_like(canvas, 90)
    alone[30:230, 180:380] = canvas[30:230, 180:380]
    (largest,) = network.faces([as_picture(alone)])
    assert largest is not None
    assert two @ largest > 0.99 > one @ largest


@pytest.mark.parametrize("planes", [True, False])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize(("values", "scale", "shift"), [("-1..1", 2 / 255, 1), ("0..1", 1 / 255, 0), ("0..255", 1, 0)])
def test_the_network_is_given_what_its_settings_say(
    tmp_path: Path, planes: bool, channels: str, values: str, scale: float, shift: float
):
    shape = (1, 3, SIDE, SIDE) if planes else (1, SIDE, SIDE, 3)
    network = opened(write_onnx(tmp_path / "face.onnx", shape), values=values, channels=channels)
    face = noise((SIDE, SIDE))[0].permute(1, 2, 0).numpy()
    ordered = (face if channels == "rgb" else face[:, :, ::-1]) * scale - shift
    flat = (ordered.transpose(2, 0, 1) if planes else ordered).reshape(-1)
    np.testing.assert_allclose(network.embed(face), flat @ matrix(), rtol=1e-4, atol=1e-3)


def test_settings_and_weights_change_the_fingerprint(tmp_path: Path):
    file = write_onnx(tmp_path / "face.onnx", (1, 3, SIDE, SIDE))
    assert opened(file).fingerprint == opened(file).fingerprint != opened(file, channels="bgr").fingerprint
    assert opened(file).name == "Haar and face.onnx"


def test_it_serves_the_role_of_faces(tmp_path: Path):
    file = write_onnx(tmp_path / "face.onnx", ("n", 3, SIDE, SIDE))  # exports with a free number of pictures are usual
    found = open_networks(NetworksConfig(face=str(file), face_values="0..1", face_channels="bgr")).face
    assert found.name == "Haar and face.onnx"
    assert found.call([noise((64, 64))[0]]) == [None]
    with pytest.raises(DataError, match="no pictures"):
        found.call([])


def test_what_is_no_face_network_is_refused(tmp_path: Path):
    (tmp_path / "broken.onnx").write_bytes(struct.pack("<4i", 1, 2, 3, 4))
    with pytest.raises(ModelError, match="is no ONNX network that can be run"):
        opened(tmp_path / "broken.onnx")
    (tmp_path / "face.pth").write_bytes(b"")
    with pytest.raises(ModelError, match="is no ONNX file"):
        opened(tmp_path / "face.pth")
    with pytest.raises(ModelError, match=r"takes picture tensor\(float\) .* fixed size"):
        opened(write_onnx(tmp_path / "free.onnx", (1, 3, "height", "width")))


def test_without_its_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'maquette\[faces\]'"):
        opened(write_onnx(tmp_path / "face.onnx", (1, 3, SIDE, SIDE)))
