"""Whose face a picture shows: OpenCV's Haar cascade finds the face, an ONNX network that the user names reads it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from maquette.errors import DataError, MissingDependencyError, ModelError
from maquette.evaluation.metric import Picture, Pictures
from maquette.evaluation.sources import Source

if TYPE_CHECKING:
    from cv2 import CascadeClassifier
    from onnxruntime import InferenceSession

Values = Literal["-1..1", "0..1", "0..255"]
Channels = Literal["rgb", "bgr"]
Box = tuple[int, int, int, int]

CASCADE: Final = "haarcascade_frontalface_default.xml"
SMALLEST: Final = 0.1
"""Side of the smallest face that is looked for, as a share of the picture's shorter side."""
NEIGHBOURS: Final = 5
"""How many overlapping finds make a face; fewer find faces in foliage."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceNetwork:
    """A detector and a network that embeds what it finds; of several faces the largest counts."""

    name: str
    fingerprint: str
    find: Callable[[UInt8[np.ndarray, "h w 3"]], Sequence[Box]]
    embed: Callable[[UInt8[np.ndarray, "h w 3"]], Float[np.ndarray, " d"]]

    def faces(self, pictures: Pictures) -> list[Tensor | None]:
        """For each picture the unit vector of its largest face, or None where no face was found.

        Raises DataError where there is no picture.
        """
        if not pictures:
            raise DataError("There are no pictures to look at; give at least one.")
        return [self._face(picture) for picture in pictures]

    def _face(self, picture: Picture) -> Float[Tensor, " d"] | None:
        pixels = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
        boxes = self.find(pixels)
        if not boxes:
            return None
        left, top, width, height = max(boxes, key=lambda box: box[2] * box[3])
        vector = torch.from_numpy(self.embed(pixels[top : top + height, left : left + width]))
        return functional.normalize(vector.float(), dim=0)


def open_face_network(source: Source, values: Values, channels: Channels) -> FaceNetwork:
    """The cascade that comes with OpenCV, and an ONNX file with one picture in and one vector out; both on the CPU.

    values, channels: what the file takes the bytes 0 to 255 as, and the order of its colours.
    The cascade gives upright boxes and no landmarks, so faces are not aligned: distances are a little larger than the
    published ones. Raises MissingDependencyError without the extra ``faces``; ModelError where the file does not fit.
    """
    require_packages()
    import cv2

    if source.path.suffix != ".onnx":
        raise ModelError(
            f"{source.path}: is no ONNX file. Give one that embeds a face, such as an ArcFace (one picture in, one "
            'vector out), or "judge".'
        )
    cascade, session = _cascade(), _session(source)
    size, planes = _input(session, source)

    def find(pixels: UInt8[np.ndarray, "h w 3"]) -> list[Box]:
        least = max(24, int(SMALLEST * min(pixels.shape[:2])))
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        found = cascade.detectMultiScale(grey, 1.1, NEIGHBOURS, minSize=(least, least))
        return [(int(left), int(top), int(width), int(height)) for left, top, width, height in found]

    def embed(face: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " d"]:
        shrinks = face.shape[0] > size[0]
        resized = cv2.resize(face, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        ordered = resized if channels == "rgb" else resized[:, :, ::-1]
        scaled = _scaled(ordered.astype(np.float32), values)
        stack = scaled.transpose(2, 0, 1)[None] if planes else scaled[None]
        first, *_ = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(stack)})
        return np.asarray(first, np.float32).reshape(-1)

    settings = (CASCADE, SMALLEST, NEIGHBOURS, values, channels, cv2.__version__)
    digest = hashlib.sha256(source.path.read_bytes() + repr(settings).encode()).hexdigest()[:32]
    return FaceNetwork(f"Haar and {source.label}", digest, find, embed)


def require_packages() -> None:
    """Raise MissingDependencyError without the extra ``faces``."""
    try:
        import cv2  # noqa: F401 - both, so that they are asked for at once
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"The face network needs OpenCV 4 and ONNX Runtime ({error}). Install them: pip install 'maquette[faces]'."
        ) from None


def _scaled(pixels: Float[np.ndarray, "h w 3"], values: Values) -> Float[np.ndarray, "h w 3"]:
    match values:
        case "-1..1":
            return pixels / 127.5 - 1
        case "0..1":
            return pixels / 255
        case "0..255":
            return pixels


def _cascade() -> "CascadeClassifier":
    import cv2

    if not hasattr(cv2, "CascadeClassifier"):
        raise MissingDependencyError(
            f"OpenCV {cv2.__version__} has no face detector any more; OpenCV 4 has. Install it: pip install "
            "'maquette[faces]'."
        )
    from cv2 import data

    return cv2.CascadeClassifier(data.haarcascades + CASCADE)


def _session(source: Source) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # warnings about unused parts of other people's exports mean nothing to the user
    try:
        return onnxruntime.InferenceSession(str(source.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{source.path}: is no ONNX network that can be run ({error}). Get it again.") from error


def _input(session: "InferenceSession", source: Source) -> tuple[tuple[int, int], bool]:
    """Height and width that the network reads, and whether its channels come before them."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape
    planes = len(shape) == 4 and shape[1] == 3
    sides = shape[2:] if planes else shape[1:3]
    fits = len(inputs) == 1 and len(shape) == 4 and (planes or shape[3] == 3) and inputs[0].type == "tensor(float)"
    if not fits or not all(isinstance(side, int) for side in sides):
        raise ModelError(
            f"{source.path}: takes {', '.join(f'{i.name} {i.type} {i.shape}' for i in inputs)} and gives "
            f"{len(outputs)} outputs; a face network takes one fp32 picture of a fixed size, (1, 3, h, w) or "
            "(1, h, w, 3). Export it that way."
        )
    height, width = sides
    return (height, width), planes
