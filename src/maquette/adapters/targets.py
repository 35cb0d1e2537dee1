"""Which layers of a module get an update: named groups and patterns become module paths, checked against the model."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from maquette.errors import ConfigError, ModelError

GROUPS: Mapping[str, Sequence[str]] = {
    "attention": (
        *("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj"),
        *("q_proj", "k_proj", "v_proj", "out_proj"),
    ),
    "feed_forward": ("ff.net.0.proj", "ff.net.2", "mlp.fc1", "mlp.fc2"),
    "convolutions": ("conv1", "conv2", "conv_shortcut", "downsamplers.*.conv", "upsamplers.*.conv"),
}
"""Leaf names of each named group, in UNets (first) and CLIP text encoders. ``to_out.0`` sits inside a ModuleList.
``add_k_proj`` and ``add_v_proj`` are those of Kandinsky's decoder, whose pictures attend to the embedding as well."""

BLOCKS = frozenset(
    kind.format(way)
    for way in ("Down", "Up")
    for kind in ("{}Block2D", "CrossAttn{}Block2D", "SimpleCrossAttn{}Block2D", "Resnet{}sampleBlock2D")
)
"""Levels of UNets whose layers can be counted. Those of Kandinsky's decoder are the last two kinds: one attention and
no transformer beside each residual block, and residual blocks that shrink and enlarge."""


def leaves(module: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Every layer that an adapter can change, by its path; layers that carry an adapter already count as themselves."""
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    pending = list(module.named_children())[::-1]
    while pending:
        path, child = pending.pop()
        layer = child.get_base_layer() if isinstance(child, BaseTunerLayer) else child
        if isinstance(layer, nn.Linear | nn.Conv2d):
            found[path] = layer
        else:
            pending += [(f"{path}.{name}", part) for name, part in child.named_children()][::-1]
    return found


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a run of whole dotted parts of a path; ``*`` stands for anything.

    ``to_q``, ``attn2``, ``up_blocks.1.*.to_v`` and ``mid_block`` are all patterns.
    """
    run = re.escape(pattern).replace(r"\*", ".*")
    return re.search(rf"(?:^|\.){run}(?:\.|$)", path) is not None


def select(
    module: nn.Module, targets: str | Sequence[str], blocks: Sequence[str] = (), key: str = "adapter.targets"
) -> list[str]:
    """Paths of the layers that ``targets`` means, in the module's own order.

    targets: named groups joined by "+" ("attention+feed_forward"), or a list of patterns. blocks: patterns of which one
    must match as well; none restricts nothing. key: the setting that the targets come from.
    Raises ConfigError for a pattern that matches nothing, naming the nearest; ModelError where a named group holds
    another number of layers than the module's configuration implies.
    """
    paths = list(leaves(module))
    groups = targets.split("+") if isinstance(targets, str) else []
    patterns = [pattern for group in groups for pattern in GROUPS[group]] if groups else list(targets)
    chosen = [path for path in paths if any(matches(pattern, path) for pattern in patterns)]
    check_matched([] if groups else patterns, paths, key)
    check_matched(blocks, chosen, "adapter.blocks")
    check_counts(module, groups, chosen)
    return [path for path in chosen if not blocks or any(matches(block, path) for block in blocks)]


def check_matched(patterns: Sequence[str], paths: Sequence[str], key: str) -> None:
    """Raise ConfigError, naming every pattern that matches none of the paths, and what comes nearest to each."""
    unmatched = [pattern for pattern in patterns if not any(matches(pattern, path) for path in paths)]
    if unmatched:
        known = sorted({run for path in paths for run in runs(path)})
        hints = [f'"{p}"{nearest(p, known)}' for p in unmatched]
        raise ConfigError(
            f"{key}: no layer of the model matches {', '.join(hints)}. A pattern is a layer's dotted path or whole "
            'parts of it, "*" stands for anything: "to_q", "up_blocks.1.*.to_v", "mid_block".'
        )


def runs(path: str) -> list[str]:
    """What a person may mean by a pattern for this path: its beginnings, its ends and its single parts."""
    parts = path.split(".")
    ends = [".".join(parts[-n:]) for n in (1, 2, 3)]
    return [part for part in parts if not part.isdigit()] + ends + [".".join(parts[:n]) for n in range(2, len(parts))]


def nearest(pattern: str, known: Sequence[str]) -> str:
    """The known name most like a pattern, as a question to put behind it; empty where nothing is like it."""
    close = get_close_matches(pattern.lower(), known, n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""


def check_counts(module: nn.Module, groups: Sequence[str], chosen: Sequence[str]) -> None:
    """Raise ModelError where named groups matched another number of layers than the architecture has."""
    if not chosen:
        raise ModelError(
            f"{type(module).__name__} has no layer of the kind asked for; it is of an unknown architecture."
        )
    expected = expected_counts(configuration(module))
    if not groups or expected is None:
        return
    wanted = sum(expected[group] for group in groups)
    if len(chosen) != wanted:
        raise ModelError(
            f"{type(module).__name__}: found {len(chosen)} layers for {'+'.join(groups)} where its configuration "
            f"implies {wanted}. The installed diffusers or transformers name layers differently than expected: install "
            "the versions that pyproject.toml asks for, or name the layers by patterns."
        )


def configuration(module: nn.Module) -> Mapping[str, object]:
    """A model's own configuration as a mapping; empty for modules without one."""
    config = getattr(module, "config", {})
    return config if isinstance(config, Mapping) else config.to_dict()


def expected_counts(config: Mapping[str, object]) -> dict[str, int] | None:
    """Layers of each named group that a UNet, prior or CLIP text configuration implies; None for others."""
    layers = config.get("num_layers" if is_prior(config) else "num_hidden_layers")
    if isinstance(layers, int):  # each with one attention of four projections, and two layers after it
        return {"attention": 4 * layers, "feed_forward": 2 * layers, "convolutions": 0}
    down, up = config.get("down_block_types"), config.get("up_block_types")
    if not isinstance(down, Sequence) or not isinstance(up, Sequence) or not BLOCKS.issuperset({*down, *up}):
        return None
    return unet_counts(config, [str(block) for block in down], [str(block) for block in up])


def is_prior(config: Mapping[str, object]) -> bool:
    """Whether a configuration is that of a prior: a transformer over embeddings instead of pictures."""
    return "additional_embeddings" in config


def unet_counts(config: Mapping[str, object], down: Sequence[str], up: Sequence[str]) -> dict[str, int] | None:
    """Layers per group of a conditional UNet.

    A transformer block has two attentions of four projections. An attention without one has six: its own four, and keys
    and values of what it is told.
    """
    resnets = per_level(config.get("layers_per_block"), len(down))
    depth = per_level(config.get("transformer_layers_per_block", 1), len(down))
    channels = config.get("block_out_channels")
    if resnets is None or depth is None or not isinstance(channels, Sequence):
        return None
    middle = str(config.get("mid_block_type", "UNetMidBlock2DCrossAttn"))
    has_mid = middle in ("UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn")
    levels = [
        *zip(down, resnets, depth, strict=True),
        *((block, n + 1, d) for block, n, d in zip(up, resnets[::-1], depth[::-1], strict=True)),
        *([(middle, 1, depth[-1])] if has_mid else []),
    ]
    simple = sum(n for block, n, _ in levels if "SimpleCrossAttn" in block)
    transformers = sum(n * d for block, n, d in levels if "CrossAttn" in block and "Simple" not in block)
    num_up = sum(n + 1 for n in resnets)
    num_resnets = sum(resnets) + num_up + (2 if has_mid else 0)
    # on the way up every residual block takes a skip connection in, so that its width changes
    shortcuts = num_up + sum(a != b for a, b in pairwise(channels))
    # what shrinks or enlarges: one convolution, or a residual block of two
    samplers = sum(2 if block.startswith(("Simple", "Resnet")) else 1 for block in (*down[:-1], *up[:-1]))
    return {
        "attention": 8 * transformers + 6 * simple,
        "feed_forward": 2 * transformers,
        "convolutions": 2 * num_resnets + shortcuts + samplers,
    }


def per_level(value: object, levels: int) -> list[int] | None:
    """One whole number per level, from one for all or one each; None for anything more intricate."""
    if isinstance(value, int):
        return [value] * levels
    if isinstance(value, Sequence) and len(value) == levels and all(isinstance(n, int) for n in value):
        return [int(n) for n in value]
    return None
