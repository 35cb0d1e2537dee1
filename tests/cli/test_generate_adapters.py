"""`maquette generate` with adapters: one, several, at any strength."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.learning.small import PROMPT, maquette, paint, train

from maquette.generation.files import read_settings

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture(scope="module")
def runs(bases: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA, another with the text encoder's, and a LoKr, none of them small."""
    root = tmp_path_factory.mktemp("runs")
    photos = paint(root / "photos")
    kinds = {
        "red": {},
        "blue": {"training__seed": 1, "text_encoder__train": "lora"},
        "round": {"adapter__kind": "lokr"},
    }
    return {
        name: train(photos, bases("sd1"), root / name, optimizer__lr=0.1, **settings).root
        for name, settings in kinds.items()
    }


@pytest.fixture
def paints(bases: Callable[[str], Path], tmp_path: Path) -> Callable[..., np.ndarray]:
    """Paint one picture with (adapter, strength) pairs; a strength of None is not given."""

    def picture(*adapters: tuple[Path, float | None]) -> np.ndarray:
        out = tmp_path / f"pictures-{len(list(tmp_path.iterdir()))}"
        worn = [word for path, _ in adapters for word in ("--adapter", path)]
        strong = [word for _, strength in adapters if strength is not None for word in ("--scale", strength)]
        base = ["--base", bases("sd1")] if not adapters else []
        assert maquette("generate", PROMPT, "--steps", 2, "--out", out, *worn, *strong, *base) == 0
        [path] = out.glob("a-photo*.png")
        said = read_settings(path)["adapters"]
        assert said == [[path.name, 1.0 if strength is None else strength] for path, strength in adapters]
        with Image.open(path) as image:
            return np.asarray(image).astype(int)

    return picture


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of two pictures, in grey levels."""
    return int(np.abs(one - other).max())


def test_strength_goes_from_nothing_to_all_and_on(runs, paints):
    base, red = paints(), runs["red"]
    # Adding nothing still rounds, and a grey level is a coarse ruler.
    assert apart(paints((red, 0.0)), base) <= 1
    full = paints((red, None))
    assert apart(full, paints((red, 1.0))) == 0
    assert apart(full, base) > 3
    half, double = paints((red, 0.5)), paints((red, 2.0))
    assert apart(half, base) > 1
    assert apart(half, full) > 1
    assert apart(double, full) > 1


def test_several_adapters_each_with_its_own_strength(runs, paints):
    red, blue, bent = runs["red"], runs["blue"], runs["round"]
    both = paints((red, 1.0), (blue, 0.7))
    assert apart(both, paints((red, 1.0))) > 1
    assert apart(both, paints((blue, 0.7))) > 1
    assert apart(both, paints((red, 0.7), (blue, 1.0))) > 1
    assert apart(both, paints((blue, 0.7), (red, 1.0))) <= 1  # in whichever order
    assert apart(paints((red, 1.0), (blue, 0.0)), paints((red, 1.0))) <= 1
    assert apart(paints((red, None), (bent, None)), paints((red, None))) > 1


def test_a_file_is_the_run_it_came_from(runs, paints, bases, tmp_path):
    of_run = paints((runs["blue"], None))
    for name in ("blue.safetensors", "pytorch_lora_weights.safetensors"):
        file = runs["blue"] / "export" / name
        out = tmp_path / name
        assert maquette("generate", PROMPT, "--adapter", file, "--base", bases("sd1"), "--steps", 2, "--out", out) == 0
        [path] = out.glob("a-photo*.png")
        with Image.open(path) as image:
            # The kohya file holds the very numbers; in the other, the scale is multiplied into one of the factors.
            assert apart(np.asarray(image).astype(int), of_run) <= (0 if name.startswith("blue") else 1)
