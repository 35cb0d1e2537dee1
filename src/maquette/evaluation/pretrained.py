"""What networks of transformers have in common: weights under any release's names, and one vector for each picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from maquette.errors import ModelError
from maquette.evaluation.batches import Place, Prepare, encode
from maquette.evaluation.metric import Pictures
from maquette.evaluation.preparation import Preparation
from maquette.evaluation.sources import Source
from maquette.families.quiet import without_bars
from maquette.families.weights import read_json, some

M = TypeVar("M", bound=PreTrainedModel)
C = TypeVar("C", bound=PretrainedConfig)

SIZES: Final = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H", 1408: "g", 1536: "g", 1664: "bigG"}
"""Letters of the published widths of vision transformers."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureNetwork:
    """A network that makes one vector of a picture.

    name: its architecture, and in brackets whose weights they are. forward: prepared pictures to (b, d), of any scale.
    """

    name: str
    fingerprint: str
    prepare: Prepare
    forward: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b d"]]
    place: Place

    def features(self, pictures: Pictures) -> Float[Tensor, "n d"]:
        """The vectors as the network makes them."""
        return encode(pictures, self.prepare, self.forward, self.place)

    def directions(self, pictures: Pictures) -> Float[Tensor, "n d"]:
        """The vectors at length 1."""
        return functional.normalize(self.features(pictures), dim=1)


def kind_of(source: Source) -> str:
    """The architecture that a folder in transformers' layout names ("clip", "vit", "dinov2"); of a file, "file".

    Raises ModelError where a folder names none.
    """
    if source.path.is_file():
        return "file"
    config = source.path / "config.json"
    if not config.is_file():
        raise ModelError(
            f"{source.path}: has no config.json, so it is no network in transformers' layout (config.json, "
            "model.safetensors, preprocessor_config.json). Give such a folder, or a hub id."
        )
    return str(read_json(config).get("model_type"))


def read_config(kind: type[C], folder: Path) -> C:
    """The config of a folder. Raises ModelError where it describes no network of this kind."""
    file = folder / "config.json"
    try:
        config = kind.from_dict(read_json(file))
    except Exception as error:
        raise ModelError(f"{file}: describes no network of the kind {kind.model_type} ({error}).") from error
    assert isinstance(config, kind)
    return config


def load_model(
    kind: type[M],
    config: PretrainedConfig,
    tensors: Mapping[str, Tensor],
    where: str,
    options: Mapping[str, bool] | None = None,
) -> M:
    """A frozen model of a config with exactly these tensors, which may have the names of earlier transformers.

    options: of the class's own. Raises ModelError where tensors are missing or left over, or the config fits no model.
    """
    # Any: transformers declares the types of its own arguments only.
    given: Any = {"state_dict": dict(tensors), "config": config, "output_loading_info": True, **(options or {})}
    try:
        with without_bars():
            loaded: Any = kind.from_pretrained(None, dtype=torch.float32, **given)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError, OSError) as error:
        raise ModelError(f"{where}: its config describes no model that its weights fit ({error}).") from error
    model, info = loaded
    missing, left = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    left = [name for name in left if not name.endswith("position_ids")]  # a table of 0 to 76, no weights
    if missing or left:
        parts = [f"lacks {some(missing)}"] * bool(missing) + [f"has {some(left)}, which belong nowhere"] * bool(left)
        raise ModelError(f"{where}: is no {kind.__name__}: it {' and '.join(parts)}. Get it again.")
    return model.requires_grad_(requires_grad=False).eval()


def check_side(side: object, prepare: Preparation, source: Source) -> None:
    """Raise ModelError where pictures are prepared at another size than the network's positions are for."""
    if prepare.side != side:
        raise ModelError(
            f"{source.path}: its preprocessor_config.json makes pictures of {prepare.side} pixels, and the network "
            f"reads {side}. Get both files from the same place."
        )


def architecture(kind: str, config: Any, label: str) -> str:  # noqa: ANN401 - configs declare unions of many types
    """The name that numbers are printed under: "CLIP ViT-L/14 (openai/clip-vit-large-patch14)".

    The letter and the patch come from the config; whose weights they are, a config cannot say, so the source stands
    behind it.
    """
    return f"{kind}-{SIZES.get(config.hidden_size, config.hidden_size)}/{config.patch_size} ({label})"
