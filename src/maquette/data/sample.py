"""The records of a data set: where pictures come from, one picture ready to be drawn, and what was found wrong."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maquette.data.caption import Tagged
from maquette.errors import DataError

Size = tuple[int, int]
"""(height, width) in pixels."""

MaskKind = Literal["off", "alpha", "label", "folder"]
"""Where masks come from: nowhere, the alpha channel, NAME-masklabel.png, or the same-named picture of a mask folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """One folder of pictures of one concept, and the words that stand for it.

    concept: index of the concept these pictures belong to. is_class: pictures of its class, for prior preservation.
    prompt: the caption of all pictures, instead of caption files. trigger: what "[trigger]" stands for. phrase, tags:
    what all pictures share and what each shows, as tags, by the picture's name without its ending; with either of them
    captions are built of tags. name_tag: that name is a tag too.
    """

    folder: Path
    prompt: str | None = None
    trigger: str | None = None
    phrase: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    name_tag: bool = False
    repeats: int = 1
    concept: int = 0
    is_class: bool = False
    caption_column: str | None = None
    masks: MaskKind = "off"
    mask_folder: Path | None = None

    @property
    def is_tagged(self) -> bool:
        """Whether captions are built of tags."""
        return self.phrase is not None or bool(self.tags)


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture that was decoded without fault, and what is trained with it.

    name: how messages call it, its path in the folder. caption: as trained, "[trigger]" replaced. tagged: the same in
    its parts, where it was built of tags, which may be drawn in another order.
    size: (height, width) after the camera's rotation. digest: sha256 of the picture's bytes. likeness: 64-bit
    perceptual hash, near in Hamming distance for pictures that look alike. notes: what decoding had to change.
    mask: a file, or "alpha" for the picture's own transparency; None learns all of it.
    """

    name: str
    caption: str
    size: Size
    digest: str
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    likeness: int = 0
    notes: tuple[str, ...] = ()
    mask: Path | Literal["alpha"] | None = None
    concept: int = 0
    repeats: int = 1
    is_class: bool = False
    tagged: Tagged | None = None

    def read(self) -> bytes:
        """The picture's bytes, from its file or from the data set it came in.

        Raises DataError where the file is gone, or is not what was scanned any more.
        """
        if self.data is not None:
            return self.data
        if self.path is None:
            raise DataError(f"{self.name}: has neither a file nor bytes.")
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}). Put it back, or allow it.") from error
        if self.digest and hashlib.sha256(data).hexdigest() != self.digest:
            raise DataError(f"{self.path}: was changed while it was in use. Start again.")
        return data


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know about a data set, with everything it concerns.

    error: training refuses. warning: training goes on, after saying it. note: only `maquette check` says it.
    message: a sentence about the named things, with the cure.
    """

    level: Literal["error", "warning", "note"]
    kind: str
    message: str
    names: tuple[str, ...] = ()

    def text(self) -> str:
        """One line: what it is about, and all names."""
        return f"{self.message} {len(self.names)}: {', '.join(self.names)}" if self.names else self.message


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds: the pictures that can be used, and everything that was found on the way."""

    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...] = ()

    def warnings(self) -> list[str]:
        """What the person training must be told."""
        return [finding.text() for finding in self.findings if finding.level == "warning"]

    def usable(self) -> tuple[Sample, ...]:
        """The samples. Raises DataError that lists every error there is."""
        refuse(self.findings)
        return self.samples


def refuse(findings: Iterable[Finding]) -> None:
    """Raise one DataError for all errors among the findings; return if there is none."""
    errors = [finding.text() for finding in findings if finding.level == "error"]
    if errors:
        raise DataError("\n".join(errors))


def joined(scans: Sequence[Scan]) -> Scan:
    """Several scans as one."""
    return Scan(
        tuple(sample for scan in scans for sample in scan.samples),
        tuple(finding for scan in scans for finding in scan.findings),
    )
