"""Where weights live and in what precision, chosen by name."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from maquette.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

LARGE = 100_000_000
"""Parameters of a denoiser from which bf16 pays: at 6.7 M it was measured to be slower than fp32."""


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first GPU, else the CPU; "meta" has shapes only, for plans.

    Raises ConfigError where there is no such device.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available = [*(f"cuda:{i}" for i in range(torch.cuda.device_count())), *available]
    if torch.backends.mps.is_available():
        available = ["mps", *available]
    if name == "auto":
        return torch.device(available[0])
    if name in available or name == "meta" or (name == "cuda" and "cuda:0" in available):
        return torch.device(name)
    cure = "Use one of these, or auto."
    if name.startswith("cuda") and torch.version.cuda is None:
        cure = "The installed torch is built for CPUs: install its CUDA build to use a GPU."
    raise ConfigError(f'device = "{name}": there is no such device here. There are: {", ".join(available)}. {cure}')


def choose_dtype(precision: Precision, device: torch.device, parameters: int) -> torch.dtype:
    """The dtype that frozen weights are held in; "auto" depends on the device and on the denoiser's size.

    Raises ConfigError for fp16 on a CPU, which has no half-precision convolutions to speak of.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError('precision = "fp16" needs a GPU; on a CPU use "fp32", or "bf16" to save memory.')
    if precision != "auto":
        return DTYPES[precision]
    return torch.bfloat16 if parameters > LARGE and has_native_bf16(device) else torch.float32


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices itself rather than through fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Older torch cannot tell; fp32 is then right, if not fastest.
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


@contextmanager
def held_in(dtype: torch.dtype, modules: Collection[nn.Module]) -> Generator[None]:
    """Modules in another precision for a while; afterwards every parameter and buffer has its own bits again."""
    owners = {owner for module in modules for owner in module.modules()}
    weights = [(param, param.data) for owner in owners for param in owner.parameters(recurse=False)]
    buffers = [(owner, key, value) for owner in owners for key, value in owner.named_buffers(recurse=False)]
    try:
        for module in modules:
            # nn.Module's own: diffusers' warns of layers to keep in fp32 where there are none.
            nn.Module.to(module, dtype=dtype)
        yield
    finally:
        for param, value in weights:
            param.data = value
        for owner, key, value in buffers:
            setattr(owner, key, value)
