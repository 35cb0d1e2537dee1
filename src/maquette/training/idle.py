"""Modules that the steps of a run do not use: off a GPU while it trains, and back where they are needed."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from maquette.data.dataset import Dataset
from maquette.data.encode import role
from maquette.families.base import Family


@dataclass(frozen=True, slots=True, eq=False)
class Idle:
    """Frozen modules, and the device they work on. On a CPU, where nothing is gained, they stay."""

    modules: Sequence[nn.Module]
    device: torch.device

    def leave(self) -> None:
        """Move them out of the device's memory."""
        if self.device.type != "cpu":
            self._move(torch.device("cpu"))

    @contextmanager
    def present(self) -> Generator[None]:
        """Inside, they are on the device."""
        self._move(self.device)
        try:
            yield
        finally:
            self.leave()

    def _move(self, device: torch.device) -> None:
        for module in self.modules:
            module.to(device)


def idle_in(family: Family, dataset: Dataset, device: torch.device) -> Idle:
    """What steps do without: encoders whose results are all kept, and what only prompts need."""
    return Idle([module for name, module in family.modules.items() if not is_needed(name, dataset)], device)


def is_needed(name: str, dataset: Dataset) -> bool:
    """Whether steps use the module of a name when the data set is prepared."""
    match role(name):
        case "denoiser":
            return True
        case "text":
            return dataset.needs_text_encoder
        case "image":
            return dataset.needs_image_encoder
        case "prompts":
            return False
