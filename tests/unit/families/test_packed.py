"""Convolutions with packed weights, held against the plain ones and against fp64."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from maquette.families import packed
from maquette.families.packed import CHANNELS, POSITIONS, can_pack, packing

DTYPES = [torch.float32, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="a torch without oneDNN")


@pytest.fixture(autouse=True)
def few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "CHANNELS", 16)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Size]]:
    """The inputs that packed weights were used on."""
    shapes: list[torch.Size] = []
    convolve = packed.convolve

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shapes.append(x.shape)
        return convolve(x, weight, bias)

    monkeypatch.setattr(packed, "convolve", noted)
    return shapes


@pytest.fixture(autouse=True)
def every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32 values can be compared more closely than in the precision that gains by it."""
    monkeypatch.setattr(packed, "PRECISIONS", DTYPES)


def frozen(dtype: torch.dtype = torch.float32, inputs: int = 16, outputs: int = 48, **settings: object) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, **settings)
    return layer.to(dtype).requires_grad_(requires_grad=False)


def passes(layer: nn.Module, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's answer, and the gradient to its input."""
    x = x.detach().requires_grad_()
    y = layer(x)
    y.backward(grad)
    assert x.grad is not None
    return y.detach(), x.grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_this_torch_packs(dtype):
    """Where this fails, torch has changed what is private to it: look at families.packed."""
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("a processor without bf16")
    assert can_pack(dtype)


def test_other_precisions_and_other_torches_do_not(monkeypatch):
    assert not can_pack(torch.float16)
    monkeypatch.setattr(packed, "OPERATIONS", ("_not_there",))
    assert not can_pack(torch.float32)
    monkeypatch.undo()
    assert not can_pack(torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_plain_layer(dtype, form, bias, used):
    if not can_pack(dtype):
        pytest.skip("not packed here")
    layer = frozen(dtype, bias=bias)
    exact = frozen(torch.float64, bias=bias)
    exact.load_state_dict(layer.state_dict())
    within = packing(layer, dtype)
    for shape in [(1, 4, 4), (3, 8, 5), (1, 16, 16), (2, 4, 4)]:  # one weight serves all of them
        x = torch.randn(shape[0], 16, *shape[1:]).to(dtype).to(memory_format=form)
        grad = torch.randn(shape[0], 48, *shape[1:]).to(dtype).to(memory_format=form)
        with within():
            y, slope = passes(layer, x, grad)
        right = passes(exact, x.double(), grad.double())
        plain = passes(layer, x, grad)
        for ours, theirs, truth in zip((y, slope), plain, right, strict=True):
            assert (ours - truth).norm() <= TOLERANCE[dtype] * truth.norm()
            assert (ours.dtype, ours.is_contiguous(memory_format=form)) == (theirs.dtype, True)
    assert len(used) == 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_input_does_not_decide_the_bits(dtype):
    """A resumed run may meet its buckets in another order."""
    if not can_pack(dtype):
        pytest.skip("not packed here")
    layer = frozen(dtype, 64, 64)
    shapes = [(1, 4, 4), (4, 8, 8), (1, 8, 12), (2, 16, 16)]
    found = []
    for order in (shapes, shapes[::-1]):
        within, rng = packing(layer, dtype), torch.Generator()
        results = {}
        for shape in order:
            x, grad = torch.randn(2, shape[0], 64, *shape[1:], generator=rng.manual_seed(shape[2])).to(dtype)
            with within():
                results[shape] = passes(layer, x, grad)
        found.append(results)
    first, second = found
    for shape in shapes:
        assert all(torch.equal(a, b) for a, b in zip(first[shape], second[shape], strict=True))


def test_outside_and_after_an_error_layers_are_what_they_were(used):
    layer = frozen()
    x = torch.randn(1, 16, 4, 4)
    plain, names = layer(x), set(layer.__dict__)
    within = packing(nn.Sequential(layer), torch.float32)
    with within():
        layer(x)
    with pytest.raises(RuntimeError, match="channels"), within():
        layer(x[:, 1:])
    assert len(used) == 2
    assert set(layer.__dict__) == names
    assert torch.equal(layer(x), plain)
    assert len(used) == 2


@torch.no_grad()
def test_no_changed_weight_is_computed_with_as_it_was():
    layer, x = frozen(), torch.randn(1, 16, 4, 4)
    within = packing(layer, torch.float32)

    def right() -> bool:
        with within():
            return torch.allclose(layer(x), functional.conv2d(x, layer.weight, layer.bias, padding=1), atol=1e-5)

    assert right()
    layer.weight.mul_(2)
    assert right()
    layer.weight.data = torch.randn_like(layer.weight)
    assert right()
    layer.load_state_dict(frozen().state_dict())
    assert right()
    layer.load_state_dict(frozen().state_dict(), assign=True)
    assert right()
    assert layer.bias is not None
    layer.bias.add_(1)
    assert right()
    layer.to(torch.bfloat16)
    x = x.bfloat16()
    with within():
        assert torch.equal(layer(x), functional.conv2d(x, layer.weight, layer.bias, padding=1))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 16, 3, padding=1),
        frozen(stride=2),
        frozen(groups=2),
        frozen(padding_mode="circular"),
        frozen(inputs=8),
        nn.Conv2d(16, 16, 1).requires_grad_(requires_grad=False),
        nn.Conv2d(16, 16, 3).requires_grad_(requires_grad=False),
    ],
    ids=["trained", "stride", "groups", "circular", "narrow", "1x1", "unpadded"],
)
def test_other_layers_are_left_alone(layer):
    assert packing(layer, torch.float32) is nullcontext


def test_many_positions_are_left_to_the_plain_layer(used):
    layer = frozen()
    with packing(layer, torch.float32)():
        layer(torch.randn(POSITIONS // 64 + 1, 16, 8, 8))
        assert not used
        layer(torch.randn(POSITIONS // 64, 16, 8, 8))
        assert len(used) == 1


def test_a_small_base_has_nothing_to_pack(monkeypatch):
    monkeypatch.undo()
    assert packing(frozen(inputs=CHANNELS - 1, outputs=CHANNELS), torch.float32) is nullcontext
    assert packing(frozen(inputs=CHANNELS, outputs=CHANNELS), torch.float32) is not nullcontext


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="bf16 is not packed here")
def test_autocast_decides_the_precision(used):
    x = torch.randn(1, 16, 4, 4, requires_grad=True)
    low, high = frozen(torch.bfloat16), frozen()
    with packing(nn.Sequential(low, high), torch.bfloat16)(), torch.autocast("cpu", torch.bfloat16):
        y = low(x)
        assert (y.dtype, len(used)) == (torch.bfloat16, 1)
        y.float().sum().backward()
        assert x.grad is not None
        assert x.grad.dtype == torch.float32
        assert high(x).dtype == torch.bfloat16  # held in another precision: by the plain layer
        assert len(used) == 2


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputing_gives_the_same_bits(reentrant):
    layer = nn.Sequential(frozen(outputs=16), nn.SiLU(), frozen())
    x, grad = torch.randn(2, 16, 4, 4), torch.randn(2, 48, 4, 4)
    with packing(layer, torch.float32)():
        expected = passes(layer, x, grad)
        x = x.requires_grad_()
        y = checkpoint(layer, x, use_reentrant=reentrant)
        assert isinstance(y, Tensor)
        y.backward(grad)
    assert torch.equal(y, expected[0])
    assert x.grad is not None
    assert torch.equal(x.grad, expected[1])
