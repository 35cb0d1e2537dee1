"""The DreamBooth data set's list of subjects and prompts, read from a local copy.

Source: Ruiz et al. 2023 (arXiv 2208.12242) section 4, github.com/google/dreambooth, dataset/prompts_and_classes.txt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.config.suite import CLASS, SUBJECT, PromptConfig
from maquette.errors import DataError

FILE = "prompts_and_classes.txt"
LIVE = frozenset({"cat", "dog"})
"""Classes that are asked for with the prompts of live subjects: all that the data set has."""

_PROMPT = re.compile(r"^\s*'(?P<text>[^']*\{0\}[^']*)'\.format\(unique_token, class_token\),?\s*$", re.MULTILINE)
_LISTS = re.compile(r"^(?P<kind>Object|Live Subject) Prompts\s*$(?P<body>.*?)(?=^\w[\w ]* Prompts\s*$|\Z)", re.M | re.S)
_SUBJECT = re.compile(r"^(?P<name>[\w-]+),(?P<noun>[\w -]+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lists:
    """classes: the noun of each subject, by its folder's name. objects, live: the prompts of each sort of subject."""

    classes: Mapping[str, str]
    objects: tuple[PromptConfig, ...]
    live: tuple[PromptConfig, ...]

    def called(self, concepts: Sequence[str], references: Path | None) -> list[str]:
        """Concepts by their names in the list: a single one is the subject whose folder its real pictures are in."""
        if len(concepts) == 1 and references is not None and references.resolve().name in self.classes:
            return [references.resolve().name]
        return list(concepts)

    def prompts(self, subject: str) -> tuple[PromptConfig, ...]:
        """The 25 prompts that the paper asks for a subject of the list, whatever else its class is called."""
        return self.live if self.classes[subject] in LIVE else self.objects


def find_lists(folder: Path) -> Path:
    """The file of prompts and classes that belongs to a subject's folder, or to the folder of all subjects.

    Raises DataError where there is none.
    """
    for place in (folder, folder.absolute().parent):
        if (place / FILE).is_file():
            return place / FILE
    raise DataError(
        f"{folder}: no {FILE} is here or beside it. Give --references the folder of a subject inside a copy of the "
        "DreamBooth data set (github.com/google/dreambooth), or the folder of all subjects."
    )


def read_lists(file: Path) -> Lists:
    """What the file says. Raises DataError where it lacks subjects or one of the lists of prompts."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    found = {match["kind"]: _prompts(match["body"]) for match in _LISTS.finditer(text)}
    head = text.partition("Prompts")[0]
    classes = {match["name"]: match["noun"] for match in _SUBJECT.finditer(head) if match["noun"] != "class"}
    lacking = [f"{kind} Prompts" for kind in ("Object", "Live Subject") if not found.get(kind)]
    lacking += [] if classes else ["Classes"]
    if lacking:
        raise DataError(f"{file}: has no {' and no '.join(lacking)}; fetch the data set's own file again.")
    return Lists(classes, found["Object"], found["Live Subject"])


def _prompts(body: str) -> tuple[PromptConfig, ...]:
    """`a red {0} {1}`, of the unique word and the class, in our words."""
    texts = [match["text"].replace("{0} {1}", SUBJECT) for match in _PROMPT.finditer(body)]
    return tuple(PromptConfig(text=text, scored=text.replace(SUBJECT, CLASS)) for text in texts)
