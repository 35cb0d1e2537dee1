"""The original latent-diffusion names of a UNet's layers, derived from its configuration."""

import re
from collections.abc import Mapping
from itertools import accumulate

from maquette.adapters.targets import per_level

STEM = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
"""Layers outside the blocks."""

RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Layers of a residual block. Those of attention blocks are called the same in both."""


def ldm_path(path: str, config: Mapping[str, object]) -> str | None:
    """The original name of a UNet's layer; None where the original layout has no such layer.

    config: the UNet's own, of which the number of residual blocks per level and the kinds of blocks count. Original
    blocks are numbered through: 0 is the first convolution, then come each level's residual blocks and its sampler.
    """
    if path in STEM:
        return STEM[path]
    down, up = config.get("down_block_types"), config.get("up_block_types")
    if not isinstance(down, list | tuple) or not isinstance(up, list | tuple):
        return None
    per_block = per_level(config.get("layers_per_block"), len(down))
    found = re.fullmatch(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.+)", path)
    if found is None or per_block is None:
        return None
    side, level, part, index, rest = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    leaf = RESIDUAL.get(rest) if part == "resnets" else rest
    if leaf is None:
        return None
    if side is None:
        return f"middle_block.{2 * index if part == 'resnets' else 1}.{leaf}"
    if side == "down":
        first = [1, *accumulate((n + 1 for n in per_block), initial=1)][level + 1]
        if part == "downsamplers":
            return f"input_blocks.{first + per_block[level]}.0.op"
        return f"input_blocks.{first + index}.{int(part == 'attentions')}.{leaf}"
    first = [*accumulate((n + 1 for n in per_block[::-1]), initial=0)][level]
    if part == "upsamplers":
        return f"output_blocks.{first + per_block[::-1][level]}.{1 + ('CrossAttn' in str(up[level]))}.{leaf}"
    return f"output_blocks.{first + index}.{int(part == 'attentions')}.{leaf}"
