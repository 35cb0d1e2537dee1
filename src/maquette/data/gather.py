"""The pictures that a configuration names, and the shares of them that are trained and held out."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.config.data import DataConfig
from maquette.config.schema import RunConfig
from maquette.data.buckets import bucket_sizes, fixed_size
from maquette.data.placeholders import placeholder_findings
from maquette.data.sample import Sample, Scan, Size, Source, joined
from maquette.data.scan import scan, scan_dataset
from maquette.errors import ConfigError, DataError

if TYPE_CHECKING:
    from maquette.families.base import Family


def gather(config: RunConfig, *, class_folders: Sequence[Path | None] = ()) -> Scan:
    """All subject pictures of a run, and the class images that exist.

    class_folders: for each concept, the folder its class images were completed in, when they were generated; otherwise
    the configuration's own folders are read. Raises ConfigError where no pictures are named at all.
    """
    data = config.data
    if data.dataset is not None:
        source = replace(_source(data), folder=Path(data.dataset))
        split = {"config": data.dataset_config, "split": data.split}
        subjects = [scan_dataset(source, data.dataset, **split, image_column=data.image_column)]
    else:
        subjects = [scan(source) for source in subject_sources(config)]
    classes = [scan(source) for source in class_sources(config, class_folders)]
    found = joined([*subjects, *classes])
    placeholders = () if config.tokens is None else config.tokens.placeholders
    return replace(found, findings=(*found.findings, *placeholder_findings(found.samples, placeholders)))


def num_pictures(config: RunConfig, samples: Sequence[Sample]) -> int:
    """How many pictures there are to learn from: of a bank, whose adapters learn beside each other, the most of one."""
    counts = Counter(sample.concept for sample in samples if not sample.is_class)
    return max(counts.values(), default=0) if config.is_bank else counts.total()


def subject_sources(config: RunConfig) -> list[Source]:
    """The folders of what is learned, one for each concept."""
    data = config.data
    if config.concepts:
        return [
            replace(
                _source(data),
                folder=concept.folder,
                prompt=concept.prompt,
                trigger=concept.trigger,
                phrase=concept.phrase,
                tags=concept.tags,
                repeats=concept.repeats,
                concept=number,
            )
            for number, concept in enumerate(config.concepts)
        ]
    if data.folder is None:
        raise ConfigError("No pictures are named: give a folder (maquette train photos/), data.folder or concepts.")
    return [_source(data)]


def class_sources(config: RunConfig, folders: Sequence[Path | None] = ()) -> list[Source]:
    """The folders of class images that there are, with the words of their class."""
    section = config.class_images
    if section is None:
        return []
    if config.concepts:
        named = [(concept.class_folder, concept.class_prompt) for concept in config.concepts]
    else:
        named = [(section.folder, section.prompt)]
    found = [
        (number, made or own, prompt)
        for number, ((own, prompt), made) in enumerate(zip(named, folders or [None] * len(named), strict=True))
    ]
    return [Source(folder, prompt=prompt, concept=number, is_class=True) for number, folder, prompt in found if folder]


def training_sizes(data: DataConfig, family: "Family") -> tuple[Size, ...]:
    """The sizes that pictures are brought to: buckets of one area, or one size for all.

    Where an image encoder makes one vector of a picture, its own preparation cuts the middle square: buckets would have
    nothing to keep, and their short sides, below the base's, would be enlarged again.
    """
    multiple, (height, width) = family.size_multiple, family.default_size
    if data.size is not None:
        return fixed_size(data.size, multiple)
    if not data.buckets or not family.latent_factor:
        side = data.resolution
        return fixed_size(family.default_size if side is None else (side, side), multiple)
    return bucket_sizes(data.resolution or round((height * width) ** 0.5), multiple)


def held_out(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """(trained, held out): at least one subject picture of each concept on either side; class images are all trained.

    Which ones depends on the pictures' bytes alone, so that it is the same in every run and a copy of a held-out
    picture is held out too. Raises DataError for a concept with a single picture.
    """
    held: set[str] = set()
    for concept in dict.fromkeys(sample.concept for sample in samples):
        digests = {s.digest for s in samples if s.concept == concept and not s.is_class}
        order = sorted(digests, key=lambda digest: hashlib.sha256(f"hold-out/{digest}".encode()).digest())
        if len(order) == 1:
            raise DataError(
                "validation holds pictures out, but there is only one. Add pictures, or remove [validation]."
            )
        held |= set(order[: min(max(1, round(share * len(order))), len(order) - 1)])
    is_held = [not sample.is_class and sample.digest in held for sample in samples]
    trained = [sample for sample, out in zip(samples, is_held, strict=True) if not out]
    return trained, [sample for sample, out in zip(samples, is_held, strict=True) if out]


def _source(data: DataConfig) -> Source:
    return Source(
        folder=data.folder or Path(),
        prompt=data.prompt,
        trigger=data.trigger,
        name_tag=data.captions.name_tag,
        repeats=data.repeats,
        caption_column=data.caption_column,
        masks=data.masks,
        mask_folder=data.mask_folder,
    )
