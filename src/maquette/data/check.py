"""What is wrong with a data set, or will disappoint, before anything trains: everything by name, nothing changed."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath

from maquette.config.words import has_words
from maquette.data.buckets import nearest_size, size_findings
from maquette.data.placeholders import placeholder_findings
from maquette.data.sample import Finding, Sample, Scan, Size, Source, joined
from maquette.data.scan import scan

ALIKE = 6
"""Bits of 64 in which the hashes of two pictures may differ and still be called near duplicates. Measured on 16
photographs: shrunk, recompressed, recoloured and slightly cropped copies differ in 0 to 6 bits, different photographs
in 10 and more."""

UNBALANCED = 3
"""How many times more often one folder may be drawn than another before it is worth a warning."""

# Words that name nothing one could learn; "photo" and its like open nearly every caption, as they should.
# fmt: off
COMMON = frozenset((
    "a", "an", "the", "this", "that", "and", "or", "of", "in", "on", "at", "with", "by", "to", "from", "for", "as",
    "is", "are", "it", "its", "his", "her", "their", "s", "one", "some", "photo", "photograph", "picture", "image",
    "painting", "drawing", "illustration", "rendering", "closeup", "close", "up", "shot", "view", "style",
))
# fmt: on


@dataclass(frozen=True, slots=True)
class Fit:
    """What pictures are brought to. sizes: every (height, width). upscale: whether smaller ones are enlarged."""

    sizes: tuple[Size, ...]
    upscale: bool = False

    @property
    def resolution(self) -> int:
        """Side of the square of the largest area among the sizes."""
        return round(max(height * width for height, width in self.sizes) ** 0.5)


@dataclass(frozen=True, slots=True)
class Report:
    """A data set as ``maquette check`` found it.

    sizes: how many pictures are trained at each (height, width). concepts: trigger and number of pictures of each of
    several concepts; empty for a single one.
    """

    folder: str
    resolution: int
    num_pictures: int
    num_class_images: int
    num_draws: int
    sizes: tuple[tuple[Size, int], ...]
    findings: tuple[Finding, ...]
    concepts: tuple[tuple[str, int], ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether training would accept it."""
        return all(finding.level != "error" for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """The report in plain containers."""
        return asdict(self) | {"is_usable": self.is_usable}


def check(source: Source, fit: Fit, *, placeholders: Sequence[str] = ()) -> Report:
    """Read a folder as training would, and report on it. Raises DataError only where there is no folder.

    placeholders: words that new tokens are to be learned for.
    """
    found = scan(source)
    about = shared_words(_subject(found), source.trigger)
    return _report(str(source.folder), found, fit, [*about, *placeholder_findings(found.samples, placeholders)])


def check_concepts(folder: str, sources: Sequence[Source], fit: Fit, *, placeholders: Sequence[str] = ()) -> Report:
    """The same for several concepts that are learned together; names begin with the folder of their concept."""
    scans = [_named(scan(source), source) for source in sources]
    about = [finding for one, source in zip(scans, sources, strict=True) for finding in _about(one, source)]
    found = joined(scans)
    about += [*triggers_alike(sources), *placeholder_findings(found.samples, placeholders)]
    report = _report(folder, found, fit, about)
    counts = tuple((source.trigger or "", len(_subject(one))) for one, source in zip(scans, sources, strict=True))
    return replace(report, concepts=counts)


def triggers_alike(sources: Sequence[Source]) -> list[Finding]:
    """Triggers that hold another one: who calls the longer one also calls the shorter."""
    triggers = [source.trigger for source in sources if source.trigger]
    inside = tuple(
        f'"{one}" in "{other}"' for one in triggers for other in triggers if one != other and has_words(other, one)
    )
    message = "Triggers hold each other, so that one cannot be called alone; rename one of each pair:"
    return [Finding("warning", "triggers-alike", message, inside)] if inside else []


def _about(found: Scan, source: Source) -> list[Finding]:
    """Shared words of one concept; a phrase is shared because somebody wrote it for all."""
    if source.is_tagged:
        return []
    shared = shared_words(_subject(found), source.trigger)
    return [replace(finding, message=f"{source.folder.name}: {finding.message}") for finding in shared]


def _named(found: Scan, source: Source) -> Scan:
    """A scan whose pictures are named with their concept's folder: several folders may hold a 000.png."""
    folder = source.folder.name
    return Scan(
        tuple(replace(sample, name=f"{folder}/{sample.name}") for sample in found.samples),
        tuple(
            replace(finding, names=tuple(f"{folder}/{name}" for name in finding.names)) for finding in found.findings
        ),
    )


def _subject(found: Scan) -> list[Sample]:
    return [sample for sample in found.samples if not sample.is_class]


def _report(folder: str, found: Scan, fit: Fit, about_words: Sequence[Finding]) -> Report:
    counts = Counter(nearest_size(sample.size, fit.sizes) for sample in found.samples)
    subject = _subject(found)
    return Report(
        folder=folder,
        resolution=fit.resolution,
        num_pictures=len(subject),
        num_class_images=len(found.samples) - len(subject),
        num_draws=sum(sample.repeats for sample in subject),
        sizes=tuple(sorted(counts.items())),
        findings=(
            *found.findings,
            *size_findings(found.samples, fit.sizes, upscale=fit.upscale),
            *duplicates(found.samples),
            *about_words,
            *imbalance(found.samples),
        ),
    )


def duplicates(samples: Sequence[Sample]) -> list[Finding]:
    """Files with the same bytes, and pictures that look alike: each counts as often as there are copies of it."""
    same: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        same[sample.digest].append(sample)
    exact = tuple(" = ".join(s.name for s in group) for group in same.values() if len(group) > 1)
    first = [group[0] for group in same.values()]
    alike = tuple(
        f"{a.name} ~ {b.name}"
        for i, a in enumerate(first)
        for b in first[i + 1 :]
        if (a.likeness ^ b.likeness).bit_count() <= ALIKE
    )
    findings = []
    if exact:
        message = "Pictures are there more than once and count that often; keep one, or use repeats:"
        findings.append(Finding("warning", "duplicate", message, exact))
    if alike:
        message = "Pictures look almost the same; what they share is learned more strongly than the rest:"
        findings.append(Finding("warning", "near-duplicate", message, alike))
    return findings


def shared_words(samples: Sequence[Sample], trigger: str | None) -> list[Finding]:
    """Words that stand in every caption beside the trigger: what they name is learned by them and not by the trigger.

    Not asked where all captions are equal, as one prompt makes them, or fewer than three. The noun right behind the
    trigger ("sks dog") is its class, and meant to stand there. Without a trigger, words in every caption may be it.
    """
    captions = list(dict.fromkeys(sample.caption for sample in samples if sample.caption))
    if len(captions) < 3 or trigger is None:
        return []
    behind = {_word_behind(caption, trigger) for caption in captions}
    ignored = COMMON | set(_words(trigger)) | (behind if len(behind) == 1 else set())
    first, *others = captions
    phrases = [phrase for phrase in _phrases(first, ignored) if all(has_words(other, phrase) for other in others)]
    longest = [p for p in phrases if not any(p != other and has_words(other, p) for other in phrases)]
    if not longest:
        return []
    message = (
        f'Words stand in every caption, so that they learn what they name and "{trigger}" does not. Leave out of the'
        " captions what belongs to it, and keep what should be changeable by words:"
    )
    return [Finding("warning", "shared-words", message, tuple(longest))]


def imbalance(samples: Sequence[Sample]) -> list[Finding]:
    """Folders that are drawn far more often than others, and class images that are fewer than the pictures."""
    draws: Counter[str] = Counter()
    for sample in samples:
        if not sample.is_class:
            draws[PurePosixPath(sample.name).parent.as_posix()] += sample.repeats
    findings = []
    if len(draws) > 1 and max(draws.values()) > UNBALANCED * min(draws.values()):
        message = "Folders are drawn very unevenly (pictures x repeats in one pass):"
        names = tuple(f"{folder} ({count})" for folder, count in draws.most_common())
        findings.append(Finding("warning", "imbalance", message, names))
    num_class = sum(sample.is_class for sample in samples)
    if 0 < num_class < len(samples) - num_class:
        message = f"There are only {num_class} class images, fewer than pictures, so they are learned by heart."
        findings.append(Finding("warning", "imbalance", message))
    return findings


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _word_behind(caption: str, trigger: str) -> str:
    match = re.search(rf"(?<!\w){re.escape(trigger)}\s+(\w+)", caption, re.IGNORECASE)
    return match[1].lower() if match else ""


def _phrases(caption: str, ignored: Iterable[str]) -> list[str]:
    """All runs of words between commas that neither begin nor end with an ignored one, longest first."""
    phrases = []
    for part in re.split(r"[,.;:!?()]", caption):
        words = re.findall(r"[\w'-]+", part)
        runs = [words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
        phrases += [" ".join(run) for run in runs if not {run[0].lower(), run[-1].lower()} & set(ignored)]
    return sorted(dict.fromkeys(phrases), key=len, reverse=True)
