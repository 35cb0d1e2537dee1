"""What can be told of a run before its base is loaded; training asks it, and so do plans, which never load one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from maquette.config.load import load_config
from maquette.config.schema import RunConfig, resolved
from maquette.data.gather import gather, held_out, num_pictures
from maquette.data.pack import unpacked
from maquette.data.sample import Sample, Scan
from maquette.families.base import Family
from maquette.families.placement import choose_device
from maquette.generation.class_images import check_classes
from maquette.generation.sample import Request
from maquette.runs.rundir import RunDir, check_new, open_run
from maquette.training.best import check_patience
from maquette.training.opening import check_fit, check_packages, refuse_changes
from maquette.training.previews import requests_for
from maquette.training.processes import ALONE, Processes, check_share
from maquette.training.scoring import Asked, asked_in


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A run in which nothing is wrong so far.

    config: with its packs unfolded, and resolved. scan: the pictures of the subjects; class images may have yet to be
    made. scored: what is made and scored along the way, if anything. doubts: what to say of that at the beginning.
    """

    config: RunConfig
    device: torch.device
    scan: Scan
    scored: Asked | None
    doubts: Sequence[str]

    def requests(self, family: Family, samples: Sequence[Sample]) -> list[list[Request]]:
        """The requests of the previews, once it is known that the base can follow these and all other settings.

        family: with or without its weights. Raises as ``opening.check_fit``.
        """
        previews = requests_for(self.config, samples, family)
        check_fit(self.config, family, [*previews, [] if self.scored is None else self.scored.requests])
        return previews


def checked(config: RunConfig, out: Path, *, resume: bool = False, processes: Processes = ALONE) -> Checked:
    """Everything that can be wrong with a run and is no matter of its base; nothing is written.

    out: the run's folder; of a new one, absent or empty. resume: the run in it goes on. Raises a MaquetteError.
    """
    check_share(config.training.gradient_accumulation, processes)
    device = processes.device(choose_device(config.training.device))
    check_packages(config, device)
    directory = open_run(out) if resume else RunDir(out)
    if not resume:
        check_new(out)
    config = unpacked(config)
    check_classes(config, directory.class_images)
    scan = gather(config.model_copy(update={"class_images": None}))  # some of those may be missing yet
    config = resolved(config, pictures=num_pictures(config, scan.usable()))
    if config.validation is not None:
        held_out(scan.usable(), config.validation.hold_out)
    scored, doubts = asked_in(config, scan.usable())
    check_patience(config, is_scored=scored is not None)
    if resume:
        refuse_changes(load_config(directory.config), config)
    return Checked(config, device, scan, scored, doubts)
