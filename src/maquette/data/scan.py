"""A folder of pictures -> samples, with every problem reported at once and by name."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.config.words import TRIGGER, expand, has_words
from maquette.data import hub
from maquette.data.caption import Tagged, in_front, with_tag
from maquette.data.folder import CAPTION_SUFFIXES, HEIF_SUFFIXES, Listing, list_folder
from maquette.data.image import ANIMATED, PICTURE_SUFFIXES, TRANSPARENT, decode, likeness, read_heif
from maquette.data.masks import assign_masks
from maquette.data.metadata import read_metadata
from maquette.data.sample import Finding, Sample, Scan, Size, Source
from maquette.data.tags import TAG_FILE, settle_tags, stem_of
from maquette.errors import DataError

KOHYA_FOLDER = re.compile(r"(\d+)_(.+)")
"""Repeats and words, as kohya's trainer reads them off a folder's name: "10_sks dog"."""

KOHYA_LIMIT = 1000
"""More repeats than this are a date, or a slip."""


@dataclass(frozen=True, slots=True)
class Found:
    """A picture before it is opened: its bytes' whereabouts, and the caption that came with it, if any."""

    name: str
    path: Path | None = None
    data: bytes | None = None
    caption: str | None = None
    repeats: int = 1
    is_class: bool = False


def scan(source: Source) -> Scan:
    """Every picture of a source that can be used, and every finding about the others.

    Understands a flat folder with NAME.txt or NAME.caption beside NAME.jpg; metadata.jsonl or metadata.csv, as in
    Hugging Face's imagefolder; kohya's folders ("10_sks dog": ten repeats, caption "sks dog"; below reg/: class
    images); a saved data set. Raises DataError only where there is no folder; ``Scan.usable`` raises for the rest.
    """
    if hub.is_saved(source.folder):
        table = hub.load(str(source.folder), None, None)
        return scan_found(source, *_rows_of(table, None, source.caption_column))
    listing = list_folder(source.folder, leave_out=source.mask_folder)
    found, findings = _found_in(listing, source)
    findings += _left_over(listing, source)
    return scan_found(source, found, findings, listing)


def scan_dataset(
    source: Source, name: str, *, config: str | None = None, split: str | None = None, image_column: str | None = None
) -> Scan:
    """The same for a data set of the `datasets` package, by name or saved in a folder; source.folder is not read."""
    return scan_found(source, *_rows_of(hub.load(name, config, split), image_column, source.caption_column))


def scan_found(
    source: Source, found: Sequence[Found], findings: Sequence[Finding], listing: Listing | None = None
) -> Scan:
    """Open every picture, settle its caption and mask; shared by folders and data sets."""
    if not found:
        kinds = " ".join(sorted(PICTURE_SUFFIXES | HEIF_SUFFIXES))
        message = f"{source.folder}: holds no pictures. Readable are {kinds}."
        return Scan((), (*findings, Finding("error", "empty", message)))
    with ThreadPoolExecutor() as pool:
        opened = list(pool.map(_open, found))
    broken = [problem for problem in opened if isinstance(problem, str)]
    pairs = [(f, sample) for f, sample in zip(found, opened, strict=True) if isinstance(sample, Sample)]
    samples, caption_findings = [], []
    for is_class in sorted({f.is_class for f, _ in pairs}):
        group = [(f, sample) for f, sample in pairs if f.is_class == is_class]
        # The prompt and the trigger of a folder are its subject's; class images inside it have words of their own.
        words = source if is_class == source.is_class else class_words(source)
        captions, about = settle_captions(words, [f for f, _ in group])
        caption_findings += about
        samples += [
            # One without a caption stays: what else is wrong with it is told at once, and an error keeps it from use.
            replace(captioned(sample, caption or ""), repeats=f.repeats * source.repeats, concept=source.concept)
            for (f, sample), caption in zip(group, captions, strict=True)
        ]
    samples, mask_findings = assign_masks(samples, source, listing)
    unreadable = [Finding("error", "unreadable", "Pictures cannot be read:", tuple(broken))] if broken else []
    noted = _notes(samples, masks_are_alpha=source.masks == "alpha")
    return Scan(tuple(samples), (*findings, *unreadable, *caption_findings, *mask_findings, *noted))


def class_words(source: Source) -> Source:
    """A source for class images inside the folder of a subject: none of the subject's words are theirs."""
    return replace(source, prompt=None, trigger=None, phrase=None, tags={}, name_tag=False, is_class=True)


def captioned(sample: Sample, caption: str | Tagged) -> Sample:
    """The sample with its caption."""
    if isinstance(caption, Tagged):
        return replace(sample, caption=caption.text(), tagged=caption)
    return replace(sample, caption=caption)


def settle_captions(source: Source, found: Sequence[Found]) -> tuple[Sequence[str | Tagged | None], Sequence[Finding]]:
    """The caption each picture is trained with, None where it has none (an error names it), and what to say about it.

    Built of tags where the source has any; otherwise what was written about the picture.
    """
    if source.is_tagged:
        return settle_tags(source, [f.name for f in found], [f.caption for f in found])
    captions, findings = settle_written(source, found)
    if source.name_tag:
        named = zip(captions, found, strict=True)
        captions = [None if caption is None else with_tag(caption, stem_of(f.name)) for caption, f in named]
    return captions, findings


def settle_written(source: Source, found: Sequence[Found]) -> tuple[list[str | None], list[Finding]]:
    """Captions that were written, or one prompt for all.

    A prompt wins over captions that pictures bring along. The trigger replaces "[trigger]"; where no caption at all
    has it, it goes in front of each; where only some have it, the others are meant to be without.
    """
    findings: list[Finding] = []
    captions: list[str | None] = [f.caption for f in found]
    if source.prompt is not None:
        ignored = sum(caption is not None and caption != source.prompt for caption in captions)
        if ignored:
            message = f'The prompt "{source.prompt}" is used for all pictures; {ignored} captions are ignored.'
            findings.append(Finding("warning", "captions-ignored", f"{source.folder}: {message}"))
        captions = [source.prompt] * len(found)
    missing = tuple(f.name for f, caption in zip(found, captions, strict=True) if caption is None)
    if missing:
        cure = 'Give one prompt for all (--prompt "a photo of sks dog"), or write NAME.txt beside each NAME.jpg:'
        findings.append(Finding("error", "caption-missing", f"Pictures have no caption. {cure}", missing))
    blank = tuple(f.name for f, caption in zip(found, captions, strict=True) if caption == "")
    if blank:
        message = "Captions are empty, so these pictures are learned without words:"
        findings.append(Finding("warning", "caption-empty", message, blank))
    if source.trigger is not None and not source.is_class:
        return _with_trigger(source.trigger, captions, found, findings)
    unexpanded = tuple(f.name for f, caption in zip(found, captions, strict=True) if caption and TRIGGER in caption)
    if unexpanded:
        message = f'Captions say "{TRIGGER}", but there is no trigger. Give one (data.trigger = "sks"):'
        findings.append(Finding("error", "trigger-missing", message, unexpanded))
    return captions, findings


def _with_trigger(
    trigger: str, captions: Sequence[str | None], found: Sequence[Found], findings: list[Finding]
) -> tuple[list[str | None], list[Finding]]:
    expanded = [None if caption is None else expand(caption, trigger) for caption in captions]
    without = tuple(f.name for f, c in zip(found, expanded, strict=True) if c and not has_words(c, trigger))
    having = any(caption is not None and has_words(caption, trigger) for caption in expanded)
    if without and having:
        message = f'Captions are without the trigger "{trigger}" while others have it; they stay as they are:'
        findings.append(Finding("warning", "trigger-partial", message, without))
    elif without:
        message = f'No caption has the trigger "{trigger}"; it is put in front of each.'
        findings.append(Finding("warning", "trigger-inserted", message))
        return [None if c is None else in_front(c, trigger) for c in expanded], findings
    elif not having and any(caption is not None for caption in expanded):
        message = f'All captions are empty, so nothing could be learned for the trigger "{trigger}". Give a prompt.'
        findings.append(Finding("error", "trigger-unused", message))
    return expanded, findings


def _found_in(listing: Listing, source: Source) -> tuple[list[Found], list[Finding]]:
    beside, findings = _side_captions(listing)
    listed: dict[Path, str] = {}
    for path in listing.metadata:
        rows, problems = read_metadata(path, source.caption_column)
        listed |= rows
        findings += problems if source.prompt is None else []
    folders, folder_findings = _kohya_folders(listing)
    found = []
    for path in listing.pictures:
        repeats, words, is_class = folders.get(path.parent, (1, None, False))
        caption = listed.get(path.resolve(), beside.get(path.with_suffix(""), words))
        found.append(Found(listing.name(path), path, None, caption, repeats, is_class or source.is_class))
    return found, [*findings, *folder_findings, *_overruled(listing, listed, beside)]


def _overruled(listing: Listing, listed: Mapping[Path, str], beside: Mapping[Path, str]) -> Iterable[Finding]:
    if not listing.metadata:
        return
    both = [p for p in listing.pictures if p.resolve() in listed and p.with_suffix("") in beside]
    if both:
        message = "Captions are in the metadata and in a file of their own; the metadata wins:"
        yield Finding("warning", "captions-ignored", message, tuple(map(listing.name, both)))


def _side_captions(listing: Listing) -> tuple[dict[Path, str], list[Finding]]:
    """Picture path without suffix -> caption, from the caption files beside the pictures."""
    pictures = {path.with_suffix("") for path in listing.pictures}
    captions: dict[Path, str] = {}
    differing, undecodable = [], []
    for path in listing.captions:
        stem = path.with_suffix("")
        if stem not in pictures:
            continue
        try:
            text = " ".join(path.read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError):
            undecodable.append(listing.name(path))
            continue
        if captions.setdefault(stem, text) != text:
            differing.append(listing.name(path))
    findings = []
    if undecodable:
        message = "Caption files cannot be read as UTF-8 text; save them as UTF-8:"
        findings.append(Finding("error", "caption-unreadable", message, tuple(undecodable)))
    if differing:
        message = f"Two caption files ({' and '.join(CAPTION_SUFFIXES)}) say different things; remove one of each pair:"
        findings.append(Finding("error", "caption-ambiguous", message, tuple(differing)))
    return captions, findings


def _kohya_folders(listing: Listing) -> tuple[dict[Path, tuple[int, str, bool]], list[Finding]]:
    """Folder -> (repeats, words, class images?), if all pictures lie in folders named as kohya wants them."""
    parents = list(dict.fromkeys(path.parent for path in listing.pictures))
    matches = {parent: KOHYA_FOLDER.fullmatch(parent.name) for parent in parents if parent != listing.root}
    named = {parent: match for parent, match in matches.items() if match is not None}
    if not named:
        return {}, []
    if len(named) < len(parents):
        plain = tuple(
            "pictures at the top" if p == listing.root else listing.name(p) for p in parents if p not in named
        )
        message = f'Folders named "REPEATS_WORDS" ({", ".join(p.name for p in named)}) lie beside others. Rename:'
        return {}, [Finding("error", "folder-names", message, plain)]
    read = {p: (int(m[1]), m[2], "reg" in p.relative_to(listing.root).parts[:-1]) for p, m in named.items()}
    wrong = tuple(listing.name(p) for p, (repeats, _, _) in read.items() if not 1 <= repeats <= KOHYA_LIMIT)
    if wrong:
        message = f'Folders are named "REPEATS_WORDS" with repeats outside 1 to {KOHYA_LIMIT}. Rename:'
        return {}, [Finding("error", "folder-names", message, wrong)]
    lines = tuple(
        f'{listing.name(p)} ({n} repeats, "{words}"{", class images" if is_class else ""})'
        for p, (n, words, is_class) in read.items()
    )
    return read, [Finding("note", "folder-names", 'Folders are read as "REPEATS_WORDS":', lines)]


def _left_over(listing: Listing, source: Source) -> list[Finding]:
    """What lies in the folder and is not used, by name."""
    pictures = {path.with_suffix("") for path in listing.pictures}
    orphans = [path for path in listing.captions if path.with_suffix("") not in pictures]
    labels = listing.labels if source.masks != "label" else ()
    unknown = [path for path in listing.unknown if not (source.is_tagged and path.name == TAG_FILE)]
    kinds: list[tuple[str, str, Sequence[str]]] = [
        ("caption-orphan", "Text files belong to no picture and are not read:", [listing.name(p) for p in orphans]),
        ("unknown", "Files are no pictures and are not read:", [listing.name(p) for p in unknown]),
        ("masks-unused", 'Masks are not used (data.masks = "label" would):', [listing.name(p) for p in labels]),
        ("split", "Folders beside train/ are left out:", listing.skipped),
    ]
    return [Finding("warning", kind, message, tuple(names)) for kind, message, names in kinds if names]


def _open(found: Found) -> Sample | str:
    """The picture as a sample without its caption, or what is wrong with it."""
    if found.path is not None and found.path.suffix.lower() in HEIF_SUFFIXES and not read_heif():
        return f"{found.name}: is HEIF; pip install 'maquette[heif]', or convert it to JPEG."
    sample = Sample(found.name, "", (0, 0), "", found.path, found.data, is_class=found.is_class)
    try:
        data = sample.read()
        picture = decode(data, found.name)
    except DataError as error:
        return str(error)
    size: Size = picture.size
    digest = hashlib.sha256(data).hexdigest()
    return replace(sample, size=size, digest=digest, likeness=likeness(picture), notes=picture.notes)


def _notes(samples: Sequence[Sample], *, masks_are_alpha: bool) -> list[Finding]:
    findings = []
    for note in dict.fromkeys(note for sample in samples for note in sample.notes):
        surprise = note == ANIMATED or (note == TRANSPARENT and not masks_are_alpha)
        names = tuple(sample.name for sample in samples if note in sample.notes)
        findings.append(Finding("warning" if surprise else "note", "decoded", f"Pictures are {note}:", names))
    return findings


def _rows_of(
    table: "hub.Table", image_column: str | None, caption_column: str | None
) -> tuple[list[Found], list[Finding]]:
    rows, findings = hub.rows(table, image_column, caption_column)
    return [Found(row.name, None, row.data, row.caption) for row in rows], findings
