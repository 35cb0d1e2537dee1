"""Which mask belongs to which picture, and whether it can be used."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from maquette.data.folder import LABEL_ENDING, Listing, list_folder
from maquette.data.image import TRANSPARENT, decode, decode_mask
from maquette.data.sample import Finding, Sample, Source
from maquette.errors import DataError

FindMask = Callable[[Sample], Path | Literal["alpha"] | None]


def assign_masks(
    samples: Sequence[Sample], source: Source, listing: Listing | None
) -> tuple[list[Sample], list[Finding]]:
    """The samples with their masks, and what to say about them.

    A picture without a mask is learned whole, which a warning says; no mask at all is an error.
    Class images have no masks: all of a class picture is what its class looks like.
    """
    if source.masks == "off":
        return list(samples), []
    find, unused = _finder(source, listing)
    with_masks, broken = [], []
    for sample in samples:
        masked = sample if sample.is_class else replace(sample, mask=find(sample))
        with_masks.append(masked)
        try:
            read_mask(masked)
        except DataError as error:
            broken.append(str(error))
    findings = [Finding("error", "mask", "Masks cannot be used:", tuple(broken))] if broken else []
    without = tuple(sample.name for sample in with_masks if sample.mask is None and not sample.is_class)
    if without and len(without) == sum(not sample.is_class for sample in samples):
        message = f'{source.folder}: data.masks = "{source.masks}", but no picture has a mask. Add them, or set "off".'
        findings.append(Finding("error", "mask-missing", message))
    elif without:
        findings.append(Finding("warning", "mask-missing", "Pictures have no mask and are learned whole:", without))
    used = {sample.mask for sample in with_masks}
    orphans = tuple(path.name for path in unused if path not in used)
    if orphans:
        findings.append(Finding("warning", "mask-orphan", "Masks belong to no picture:", orphans))
    return with_masks, findings


def read_mask(sample: Sample) -> Image.Image | None:
    """The mask of a sample as a grey picture of the sample's size; None where it has none. Raises DataError."""
    if sample.mask is None:
        return None
    if isinstance(sample.mask, Path):
        try:
            data = sample.mask.read_bytes()
        except OSError as error:
            raise DataError(f"{sample.mask}: cannot be read ({error.strerror}).") from error
        return decode_mask(data, sample.mask.name, sample.size)
    alpha = decode(sample.read(), sample.name).alpha
    if alpha is None or alpha.getbbox() is None:
        raise DataError(f"{sample.name}: is transparent all over or not at all, so there is no mask.")
    return alpha


def _finder(source: Source, listing: Listing | None) -> tuple[FindMask, Sequence[Path]]:
    """How a picture's mask is found, and all mask files there are."""
    if source.masks == "alpha":
        return (lambda sample: "alpha" if TRANSPARENT in sample.notes else None), ()
    if source.masks == "folder" and source.mask_folder is not None:
        masks, ending = list_folder(source.mask_folder), ""
        files = masks.pictures
    else:
        masks, ending = listing, LABEL_ENDING
        files = listing.labels if listing is not None else ()
    by_name = {path.relative_to(masks.root).with_suffix("").as_posix(): path for path in files} if masks else {}
    return (lambda sample: by_name.get(str(PurePosixPath(sample.name).with_suffix("")) + ending)), files
