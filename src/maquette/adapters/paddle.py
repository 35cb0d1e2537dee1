"""Adapters that ppdiffusers wrote: the same names as diffusers', in Paddle's layout of matrices."""

from collections.abc import Mapping

import torch
from torch import Tensor

SUFFIX = ".pdparams"
"""What Paddle's pickled files end in."""

FORMAT = "pd"
"""What ppdiffusers' safetensors files say under the metadata key "format" where they are in Paddle's layout."""


def from_paddle(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in torch's layout: Paddle keeps the matrix of a linear layer as (inputs, outputs), torch the other way.

    Kernels of convolutions lie alike in both. Paddle keeps bf16 as whole numbers of 16 bits.
    """
    return {name: _in_torch(tensor) for name, tensor in tensors.items()}


def _in_torch(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint16:
        tensor = tensor.view(torch.bfloat16)
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor
