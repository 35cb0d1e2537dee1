"""Frozen weights in few bits, against the definitions of the two number formats; skipped without bitsandbytes."""

import sys
from pathlib import Path

import pytest
import torch
from tests.contract import tiny
from tests.learning.small import PROMPT, maquette, paint, train
from torch import nn

from maquette.adapters.delta import Dense, Place, Update
from maquette.adapters.keys import layout_of
from maquette.adapters.worn import Worn, fuse, worn
from maquette.errors import ConfigError, MissingDependencyError, ModelError
from maquette.families import quantized
from maquette.families.load import load_family
from maquette.families.quantized import QuantizedLinear, num_parameters

CPU = torch.device("cpu")
KINDS = ("int8", "nf4")

BELOW = (-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004)
ABOVE = (0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0)
LEVELS = torch.tensor([*BELOW, 0.0, *ABOVE])
"""The sixteen numbers of NF4. Source: Dettmers et al. 2023 (arXiv 2305.14314), appendix E."""

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def library():
    return pytest.importorskip("bitsandbytes", reason="the extra quant is not installed")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny.save("sd1", tmp_path_factory.mktemp("bases") / "tiny")


def linear(out: int, into: int, *, dtype: torch.dtype = torch.float32, bias: bool = True) -> nn.Linear:
    torch.manual_seed(out)
    return nn.Linear(into, out, bias=bias).to(dtype)


def as_int8(weight: torch.Tensor) -> torch.Tensor:
    """Each row in steps of a 127th of its largest number."""
    weight = weight.half().float()
    step = weight.abs().amax(1, keepdim=True) / 127
    return (weight / step).round() * step


def as_nf4(weight: torch.Tensor) -> torch.Tensor:
    """Runs of 64 numbers, each the nearest of sixteen levels times the largest of the run."""
    flat = weight.float().flatten()
    padded = torch.cat([flat, flat.new_zeros(-len(flat) % 64)]).view(-1, 64)
    largest = padded.abs().amax(1, keepdim=True)
    nearest = (padded[..., None] / largest[..., None] - LEVELS).abs().argmin(-1)
    return (LEVELS[nearest] * largest).flatten()[: len(flat)].view(weight.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 128), (37, 20)])  # the second fills no whole block
def test_the_weight_is_what_the_formats_say(library, shape, dtype):
    layer = linear(*shape, dtype=dtype)
    for kind, meant in (("int8", as_int8), ("nf4", as_nf4)):
        held = QuantizedLinear(layer, kind, CPU)
        assert held.weight.dtype is dtype
        agree = torch.isclose(held.weight, meant(layer.weight.detach()).to(dtype), rtol=1e-2, atol=1e-6)
        assert agree.float().mean() > 0.995  # all but those half-way between two codes
        error = (held.weight - layer.weight.detach()).abs().max() / layer.weight.detach().abs().max()
        assert error < {"int8": 0.6 / 127, "nf4": 0.16}[kind] + torch.finfo(dtype).eps  # half the widest gap, and fp16
        assert not list(held.parameters()) or [p.requires_grad for p in held.parameters()] == [False]
        assert num_parameters(held) == num_parameters(layer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_a_linear_layer_of_that_weight_does(library, kind, bias):
    held = QuantizedLinear(linear(12, 20, bias=bias), kind, CPU)
    whole = linear(12, 20, bias=bias)
    whole.weight.data.copy_(held.weight)
    x = torch.randn(3, 5, 20, generator=torch.Generator().manual_seed(0))
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [layer(one) for layer, one in zip((held, whole), inputs, strict=True)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    with torch.no_grad():
        assert torch.equal(held.eval()(x), outputs[0])
    with torch.autocast("cpu", torch.bfloat16):
        half = held(x.requires_grad_())
    half.float().sum().backward()
    assert half.dtype is torch.bfloat16
    assert x.grad.dtype is torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_is_quantized_in_its_linear_layers_and_takes_less_memory(library, kind, base):
    whole, held = load_family(base), load_family(base, quantize=kind)
    layers = {name for name, module in whole.unet.named_modules() if type(module) is nn.Linear}
    assert {name for name, module in held.unet.named_modules() if isinstance(module, QuantizedLinear)} == layers
    size = sum(tensor.nbytes for name in layers for tensor in held.unet.get_submodule(name).buffers())
    full = sum(whole.unet.get_submodule(name).weight.nbytes for name in layers)
    assert size < full * {"int8": 0.35, "nf4": 0.16}[kind]
    assert layout_of(held.modules).shapes == layout_of(whole.modules).shapes
    assert num_parameters(held.unet) == num_parameters(whole.unet)


@pytest.mark.parametrize("adapter", ["lora", "dora", "loha", "lokr"])
def test_adapters_learn_on_it_and_pictures_are_those_of_the_previews(library, adapter, base, tmp_path):
    photos = paint(tmp_path / "photos")
    kind = "int8" if adapter == "lora" else "nf4"
    settings = {"adapter__kind": adapter, "model__quantize": kind, "preview__every": 3, "checkpoints__every": 2}
    straight = train(photos, base, tmp_path / "run", **settings)
    [preview] = straight.previews.glob("step-000003*.png")
    [before] = straight.previews.glob("step-000000*.png")
    pictures = ["generate", PROMPT, "--adapter", straight.root, "--steps", 2]
    assert maquette(*pictures, "--out", tmp_path / "same") == 0
    [made] = (tmp_path / "same").glob("a-photo*.png")
    assert made.read_bytes() == preview.read_bytes() != before.read_bytes()
    assert maquette(*pictures, "--quantize", "none", "--out", tmp_path / "whole") == 0
    [other] = (tmp_path / "whole").glob("a-photo*.png")
    assert other.read_bytes() != made.read_bytes()


def test_what_must_be_added_to_weights_is_refused(library, base):
    family = load_family(base, quantize="nf4")
    at = next(place for place in layout_of(family.modules).shapes if place.path.endswith("attn1.to_q"))
    change = Worn({Place(*at): Update(Dense(torch.zeros(layout_of(family.modules).shapes[at])))})
    with pytest.raises(ModelError, match=r"quantized.*attn1\.to_q.*--quantize none"), worn(family.modules, [change]):
        pass
    with pytest.raises(ModelError, match="cannot be fused into a quantized base"):
        fuse(family.modules, [change])


def test_without_the_package_it_is_said_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"maquette\[quant\]\""):
        load_family(tmp_path / "nowhere", quantize="int8")
    load_family("maquette-64")


def test_a_platform_that_cannot_is_told_of_with_the_cure(monkeypatch, tmp_path):
    class Kernels:
        @staticmethod
        def quantize_4bit(*_: object, **__: object) -> None:
            raise RuntimeError("no kernel image is available\nmore")

    class Package:
        functional = Kernels

    monkeypatch.setattr(quantized, "library", lambda: Package)
    with pytest.raises(ConfigError, match=r"cannot do it on \"cpu\" \(no kernel image is available\)"):
        load_family(tmp_path / "nowhere", quantize="nf4")
