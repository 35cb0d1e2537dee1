"""The pictures of prior preservation: what there is, what is missing, and making it with the base itself."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from maquette.config.data import ClassImagesConfig
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
    folders: list[Path | None] = []
    for number, (target, prompt) in enumerate(_classes(config, section, folder)):
        folders.append(target)
        if target is None or prompt is None:
            continue
        requests = [
            Request(
                prompt=prompt,
                seed=Random(f"{config.training.seed}/class image/{number}/{i}").randrange(2**32),
                steps=section.steps,
                guidance=section.guidance,
                size=size,
            )
            for i in range(_num_ours(section, target))
        ]
        _complete(family, target, requests, _made_with(config), report, share)
    return folders


def _complete(
    family: Family, target: Path, requests: list[Request], made_with: dict[str, object], report: Report, share: slice
) -> None:
    paths = [_picture(target, i) for i in range(len(requests))]
    # By number and not by what is missing: that changes as the processes work.
    missing = [i for i in range(len(paths))[share] if not paths[i].exists()]
    if not missing:
        return
    with painter(family) as paint:
        for done, i in enumerate(missing, 1):
            write_picture(paths[i], paint(requests[i]), settings_of(requests[i], made_with))
            report(done, len(missing), paths[i].name)


def check_classes(config: RunConfig, folder: Path) -> None:
    """Raise DataError, before any is made, for class images that there have to be and are not, or that are of others.

    folder: as for ``complete_classes``.
    """
    section = config.class_images
    if section is None:
        return
    for target, prompt in _classes(config, section, folder):
        if target is None:
            continue
        if prompt is None:
            _require_enough(target, section.count)
            continue
        ours = [path for i in range(_num_ours(section, target)) if (path := _picture(target, i)).exists()]
        asked = {"prompt": prompt, **_made_with(config)}
        if other := [path.name for path in ours if not asked.items() <= read_settings(path).items()]:
            raise DataError(
                f"{target}: holds class images that were made for another prompt than class_images.prompt, or by "
                f"another base: {some(other)}. Name another class_images.folder, or move them away."
            )


def _classes(config: RunConfig, section: ClassImagesConfig, folder: Path) -> Iterator[tuple[Path | None, str | None]]:
    """For each concept, the folder of its class images, if it has any, and the prompt that missing ones are made of."""
    named = [(c.class_folder, c.class_prompt) for c in config.concepts] or [(section.folder, section.prompt)]
    for number, (own, prompt) in enumerate(named):
        yield (own, None) if prompt is None else (own or folder / f"concept-{number}", prompt)


def _picture(target: Path, number: int) -> Path:
    return target / f"class-{number:04d}.png"


def _made_with(config: RunConfig) -> dict[str, object]:
    return {"base": Path(str(config.model.base)).name}


def _num_ours(section: ClassImagesConfig, target: Path) -> int:
    """How many class images of a folder are made, those included that were made earlier."""
    return max(0, (section.count or DEFAULT_COUNT) - _given(target))


def _given(folder: Path) -> int:
    """Pictures of a folder that were not made by us, among all those that are learned from."""
    if not folder.is_dir():
        return 0
    return sum(not path.name.startswith("class-") for path in list_folder(folder).pictures)


def _require_enough(folder: Path, count: int | None) -> None:
    there = len(list_folder(folder).pictures)
    if count is not None and there < count:
        raise DataError(
            f"class_images.count = {count}, but {folder} has {there} pictures and there is no class_images.prompt to "
            "make more from. Lower the count, add pictures, or give a prompt."
        )
