"""Whether captions say the placeholders that new tokens are learned through."""

from collections.abc import Iterable, Sequence

from maquette.config.words import names_in
from maquette.data.sample import Finding, Sample


def placeholder_findings(samples: Sequence[Sample], placeholders: Iterable[str]) -> list[Finding]:
    """An error for each placeholder that no caption says, and where some captions say none, their names.

    Class images are not asked: their captions are to stay without.
    """
    names = list(placeholders)
    if not names:
        return []
    said = [(s.name, names_in(s.caption, names)) for s in samples if not s.is_class]
    findings = []
    used = {name for _, found in said for name in found}
    if absent := [name for name in names if name not in used]:
        listed = ", ".join(f'"{name}"' for name in absent)
        message = (
            f"No caption says {listed}, so nothing could be learned for it. Write the word into the captions, or into "
            f'a prompt for all of them (--prompt "a photo of {absent[0]}").'
        )
        findings.append(Finding("error", "placeholder-unused", message))
    elif without := tuple(name for name, found in said if not found):
        listed = " or ".join(f'"{name}"' for name in names)
        message = f"Captions do not say {listed} while others do; new tokens learn nothing from their pictures:"
        findings.append(Finding("warning", "placeholder-partial", message, without))
    return findings
