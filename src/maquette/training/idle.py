"""Modules that the steps of a run do not use: off a GPU while it trains, and back where they are needed."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from maquette.data.dataset import Dataset
from maquette.data.encode import TEXT_MODULE
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
    """What a family's modules have done when a data set is prepared: encoders whose results are all kept."""
    needed = {"text": dataset.needs_text_encoder, "image": dataset.needs_image_encoder}
    done = {
        name: module
        for name, module in family.modules.items()
        if name != "denoiser" and not needed["text" if name.startswith(TEXT_MODULE) else "image"]
    }
    return Idle(list(done.values()), device)
