"""The pictures of prior preservation: what there is, what is missing, and making it with the base itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from maquette.config.schema import RunConfig
from maquette.data.buckets import nearest_size
from maquette.data.folder import list_folder
from maquette.data.sample import Size
from maquette.data.view import needs_enlarging
from maquette.errors import DataError
from maquette.families.base import Family
from maquette.families.weights import some
from maquette.generation.files import read_settings, settings_of, write_picture
from maquette.generation.sample import Request, painter

DEFAULT_COUNT = 100

Report = Callable[[int, int, str], None]
"""Told (done, total, name) after each picture."""


def complete_classes(
    config: RunConfig, family: Family, folder: Path, sizes: Sequence[Size], report: Report, share: slice = slice(None)
) -> list[Path | None]:
    """For each concept, the folder with its class images, as many as the run wants; missing ones are made.

    They are made before any adapter is attached, by the code of ``maquette generate``, and each seed is a function of
    the run's seed and the picture's number, so an interrupted start goes on where it stopped. Pictures go to the folder
    that the configuration names, or to one in ``folder``; those that are there already count and stay.
    sizes: what pictures are trained at; class images are made at the base's own size, unless that is smaller.
    share: which of them to make here, where several processes make them together.
    """
    section = config.class_images
    if section is None:
        return []
    nearest = nearest_size(family.default_size, sizes)
    size = nearest if needs_enlarging(family.default_size, nearest) else None
    named = [(c.class_folder, c.class_prompt) for c in config.concepts] or [(section.folder, section.prompt)]
    folders: list[Path | None] = []
    for number, (own, prompt) in enumerate(named):
        if prompt is None:
            _require_enough(own, section.count)
            folders.append(own)
            continue
        target = own or folder / f"concept-{number}"
        wanted = section.count or DEFAULT_COUNT
        requests = [
            Request(
                prompt=prompt,
                seed=Random(f"{config.training.seed}/class image/{number}/{i}").randrange(2**32),
                steps=section.steps,
                guidance=section.guidance,
                size=size,
            )
            for i in range(wanted - _given(target))
        ]
        _complete(family, target, requests, {"base": Path(str(config.model.base)).name}, report, share)
        folders.append(target)
    return folders


def _complete(
    family: Family, target: Path, requests: list[Request], made_with: dict[str, object], report: Report, share: slice
) -> None:
    paths = [target / f"class-{i:04d}.png" for i in range(len(requests))]
    # By number and not by what is missing: that changes as the processes work.
    mine = range(len(paths))[share]
    missing = [i for i in mine if not paths[i].exists()]
    there = {i: read_settings(paths[i]) for i in mine if i not in missing}
    asked = {"prompt": requests[0].prompt, **made_with} if requests else {}
    if other := [paths[i].name for i, said in there.items() if not asked.items() <= said.items()]:
        raise DataError(
            f"{target}: holds class images that were made for another prompt than class_images.prompt, or by another "
            f"base: {some(other)}. Name another class_images.folder, or move them away."
        )
    if not missing:
        return
    with painter(family) as paint:
        for done, i in enumerate(missing, 1):
            write_picture(paths[i], paint(requests[i]), settings_of(requests[i], made_with))
            report(done, len(missing), paths[i].name)


def _given(folder: Path) -> int:
    """Pictures of a folder that were not made by us, among all those that are learned from."""
    return sum(not path.name.startswith("class-") for path in _pictures(folder))


def _pictures(folder: Path) -> Sequence[Path]:
    return list_folder(folder).pictures if folder.is_dir() else ()


def _require_enough(folder: Path | None, count: int | None) -> None:
    if folder is None or count is None:
        return
    there = len(_pictures(folder))
    if there < count:
        raise DataError(
            f"class_images.count = {count}, but {folder} has {there} pictures and there is no class_images.prompt to "
            "make more from. Lower the count, add pictures, or give a prompt."
        )
