"""Aspect buckets: sizes of equal area, and which one suits a picture. Pure arithmetic."""

from collections.abc import Sequence
from math import log

from maquette.data.sample import Finding, Sample, Scan, Size
from maquette.data.view import covering_size, needs_enlarging
from maquette.errors import ConfigError


def bucket_sizes(resolution: int, multiple: int) -> tuple[Size, ...]:
    """All sizes of about resolution**2 pixels and never more, from 4:1 lying to 4:1 standing, the square among them.

    multiple: both sides are multiples of it. Sides are spaced by a sixteenth of the resolution, as in SDXL's table
    (64 pixels at 1024), or by ``multiple`` where that is coarser: fewer shapes make fuller batches.
    Raises ConfigError where the resolution is no multiple.
    """
    if resolution % multiple:
        below = resolution // multiple * multiple
        allowed = f"{below} or {below + multiple}" if below else str(multiple)
        raise ConfigError(f"data.resolution = {resolution} is not a multiple of {multiple}; use {allowed}.")
    step = max(1, round(resolution / 16 / multiple)) * multiple
    area, sizes = resolution * resolution, {(resolution, resolution)}
    for short in range(resolution - step, resolution // 2 - 1, -step):
        long = min(area // short // multiple * multiple, 2 * resolution)
        sizes |= {(short, long), (long, short)} if short > 0 else set()
    return tuple(sorted(sizes))


def fixed_size(size: Size, multiple: int) -> tuple[Size, ...]:
    """The one bucket of a run without buckets. Raises ConfigError where a side is no multiple of ``multiple``."""
    if size[0] % multiple or size[1] % multiple:
        raise ConfigError(f"data.size = {list(size)}: both sides must be multiples of {multiple} for this base.")
    return (size,)


def nearest_size(original: Size, sizes: Sequence[Size]) -> Size:
    """The size whose aspect is nearest, as a ratio; of equals the largest, then the standing one."""

    def distance(size: Size) -> tuple[float, int, int]:
        ratio = log(original[0] * size[1] / (original[1] * size[0]))
        return round(abs(ratio), 12), -size[0] * size[1], -size[0]

    return min(sizes, key=distance)


def share_lost(original: Size, size: Size) -> float:
    """The share of the picture that a cut to ``size`` leaves out, from 0 to 1."""
    height, width = covering_size(original, size)
    return 1 - size[0] * size[1] / (height * width)


def size_findings(samples: Sequence[Sample], sizes: Sequence[Size], *, upscale: bool) -> list[Finding]:
    """Pictures too small for their size, and pictures of which a cut leaves out more than a third."""
    small, cut = [], []
    for sample in samples:
        size = nearest_size(sample.size, sizes)
        if needs_enlarging(sample.size, size):
            small.append(f"{sample.name} ({_text(sample.size)} for {_text(size)})")
        if share_lost(sample.size, size) > 1 / 3:
            cut.append(f"{sample.name} ({share_lost(sample.size, size):.0%} of {_text(sample.size)})")
    findings = []
    if small and upscale:
        findings.append(Finding("warning", "too-small", "Small pictures are enlarged, and train a blur:", tuple(small)))
    elif small:
        cure = "Bring larger ones, remove them, lower data.resolution, or allow it with data.upscale = true:"
        message = f"Pictures are smaller (height x width) than they are trained at. {cure}"
        findings.append(Finding("error", "too-small", message, tuple(small)))
    if cut:
        message = (
            "Pictures lose more than a third to cropping; crop them yourself, or set data.buckets = true if it is not:"
        )
        findings.append(Finding("warning", "cropped", message, tuple(cut)))
    return findings


def fitted(scan: Scan, sizes: Sequence[Size], *, upscale: bool) -> Scan:
    """The scan with what is to be said about its pictures at these sizes."""
    return Scan(scan.samples, (*scan.findings, *size_findings(scan.samples, sizes, upscale=upscale)))


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
