"""What a computation costs, counted on tensors that have shapes only: arithmetic, traffic, and memory at its worst."""

import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary

ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


REACHED = 0.65
"""The share of a square product's speed that the products of layers reach. Source: measured, docs/scale.md."""

AROUND = 5.5
"""What the code around an operation (modules, adapters, autograd) takes, in small operations. Source: measured,
docs/scale.md."""


@dataclass(slots=True)
class Costs:
    """Sums over the operations of a computation.

    flops: of matrix products and convolutions; a multiplication with its addition is two. product_bytes, other_bytes:
    read and written by these and by all others. operations: how many there were. live, peak: bytes of what it has made
    and that is still there, and the most that ever were.
    """

    flops: float = 0.0
    product_bytes: float = 0.0
    other_bytes: float = 0.0
    operations: int = 0
    live: int = 0
    peak: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a device was measured to do.

    flops: a second, in square matrix products of the run's precision. bandwidth: bytes read and written a second.
    overhead: seconds from the start of one small operation to that of the next. overlaps: whether the processor goes on
    to the next operation while the device works.
    """

    flops: float
    bandwidth: float
    overhead: float
    overlaps: bool = False

    def seconds(self, costs: Costs) -> float:
        """How long a computation takes, at the speeds of the measured operations."""
        products = max(costs.flops / (REACHED * self.flops), costs.product_bytes / self.bandwidth)
        device = products + costs.other_bytes / self.bandwidth
        host = AROUND * self.overhead * costs.operations
        return max(device, host) if self.overlaps else device + host


class _Counter(TorchDispatchMode):
    def __init__(self, costs: Costs) -> None:
        super().__init__()
        self.costs = costs
        self.known: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's own
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self.known.setdefault(tensor.untyped_storage(), True)
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._made(tensor.untyped_storage())
        if func.is_view or func.overloadpacket in (torch.ops.aten.detach, torch.ops.aten._unsafe_view):
            return result
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        moved = sum(t.nbytes for t in tensors)
        self.costs.operations += 1
        if (flops := _flops(func.overloadpacket, args, kwargs or {}, result)) is None:
            self.costs.other_bytes += moved
        else:
            self.costs.flops += flops
            self.costs.product_bytes += moved
        return result

    def _made(self, storage: UntypedStorage) -> None:
        if storage not in self.known:
            self.known[storage] = True
            self.costs.live += storage.nbytes()
            self.costs.peak = max(self.costs.peak, self.costs.live)
            weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, nbytes: int) -> None:
        self.costs.live -= nbytes


def _flops(packet: Any, args: Any, kwargs: Any, result: Any) -> float | None:  # noqa: ANN401 - torch's own
    if packet is ATTENTION:
        return sdpa_flop_count(*(t.shape for t in args[:3]))
    if packet is ATTENTION_BACKWARD:
        return sdpa_backward_flop_count(*(t.shape for t in args[:4]))
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=result)
    return None


@contextmanager
def counting() -> Generator[Costs]:
    """Inside, what is computed on the meta device is counted; what was there before takes no memory."""
    costs = Costs()
    with _fused_attention(), _Counter(costs):
        yield costs


@contextmanager
def _fused_attention() -> Generator[None]:
    """Inside, attention is computed as devices do it: shapes without a device get the version that keeps all weights.

    Put in the function's place and not around it, since what gradient checkpointing recomputes runs without modes.
    """
    plain = functional.scaled_dot_product_attention

    def fused(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if query.is_meta and not enable_gqa:
            return ATTENTION(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
        return plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    functional.scaled_dot_product_attention = fused  # ty: ignore[invalid-assignment] - the same, with names and defaults
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain


def measured(device: torch.device, dtype: torch.dtype, budget: float = 0.15) -> Machine:
    """Measure a device for about three times ``budget`` seconds: matrix products, copies, and small operations."""
    side = 4096 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    block = torch.zeros((1 << 28 if device.type == "cuda" else 1 << 24) // 4, device=device)
    small = torch.zeros(8, device=device)
    product = _seconds(lambda: left @ right, device, budget)
    copy = _seconds(block.clone, device, budget)
    each = _seconds(lambda: small + 1, device, budget)
    return Machine(2 * side**3 / product, 2 * block.nbytes / copy, each, overlaps=device.type == "cuda")


def _seconds(act: Callable[[], object], device: torch.device, budget: float) -> float:
    """The mean time of an action over at least three rounds, after one that does not count."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    act()
    wait()
    rounds, begun = 0, time.perf_counter()
    while rounds < 3 or time.perf_counter() - begun < budget:
        act()
        rounds += 1
        if rounds % 16 == 0:
            wait()
    wait()
    return (time.perf_counter() - begun) / rounds
