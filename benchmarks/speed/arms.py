"""What is compared with what. An arm is one way to train, in a process of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Size = Literal["small", "sd15"]
Precision = Literal["auto", "fp32", "bf16"]
Kind = Literal["bare", "maquette", "example"]

PROMPT = "a photo of sks mug"
PICTURES = 8


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    bare: frozen UNet and adapter on fixed tensors, forward, backward, AdamW, nothing else. maquette: `maquette train`.
    example: the public script, as it is. precision "auto" is each one's default: the script's is fp32. keeps_memory,
    packs: whether a bare step keeps the memory that it frees, and frozen weights packed, as `maquette train` does.
    """

    label: str
    kind: Kind
    precision: Precision = "auto"
    adapter: Literal["lora", "dora"] = "lora"
    keeps_memory: bool = True
    packs: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """What all arms have in common. turn: steps between two changes of turn."""

    resolution: int
    batch: int
    rank: int
    turn: int
    rounds: int
    base: str = ""
    pictures: str = ""
    example: str = ""

    def spec(self, arm: Arm, out: Path) -> dict[str, object]:
        """Everything that the process of an arm is told, as JSON."""
        return {**asdict(self), **asdict(arm), "out": str(out)}


SETTINGS: Mapping[Size, Setting] = {
    "small": Setting(64, 4, 4, turn=20, rounds=12),
    "sd15": Setting(256, 1, 4, turn=1, rounds=6),
}

COMPARISONS: Mapping[str, Sequence[Arm]] = {
    "loop": (Arm("bare step", "bare"), Arm("maquette train", "maquette")),
    "precision": (Arm("bare step, fp32", "bare", "fp32"), Arm("bare step, bf16", "bare", "bf16")),
    "memory": (Arm("memory given back", "bare", keeps_memory=False), Arm("memory kept", "bare")),
    "packed": (Arm("weights as they lie", "bare", packs=False), Arm("weights packed", "bare")),
    "dora": (Arm("LoRA", "maquette"), Arm("DoRA", "maquette", adapter="dora")),
    "example": (
        Arm("diffusers example, fp32", "example"),
        Arm("maquette train, fp32", "maquette", "fp32"),
        Arm("maquette train, auto", "maquette"),
    ),
    "example-bf16": (
        Arm("diffusers example, bf16", "example", "bf16"),
        Arm("maquette train, bf16", "maquette", "bf16"),
    ),
}
"""The first arm of each is what the others are divided by."""
