"""What is measured on each picture of the fixed set: likeness, prompt, diversity, and how far the base has drifted.

Axes: n pictures, p prompts, d features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.metric import Pictures
from maquette.evaluation.networks import Named, Networks
from maquette.evaluation.probes import Probe
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, OTHER_PROMPTS, PROMPT, Learned

Values = list[float | None]
"""One value for each picture of a list, None where there is none: a faceless picture, or the only one of its prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What pictures of a concept are compared with: the features of its real pictures."""

    learned: Learned
    references: Float[Tensor, "m d"]

    @property
    def among_themselves(self) -> float:
        """The mean cosine of two real pictures: as much likeness as can be hoped for. 1 where there is only one."""
        count = len(self.references)
        if count == 1:
            return 1.0
        cosines = self.references @ self.references.T
        return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))

    def of(self, networks: Networks, pictures: Pictures) -> Values:
        """The mean cosine of each picture with the real ones; None for a picture without a face, where faces count."""
        found = features(networks, self.learned, pictures)
        return [None if row is None else float((self.references @ row).mean()) for row in found]


def likeness(networks: Networks, learned: Learned, real: Sequence[Pictures]) -> Likeness:
    """What a concept's pictures will be compared with. real: its training pictures, in parts that fit into memory.

    Raises DataError where a face is learned and none is found in them.
    """
    rows = [row for part in real for row in features(networks, learned, part) if row is not None]
    if not rows:
        raise DataError(
            f"evaluation: {networks.face.name} finds no face in the training pictures. Use pictures with a "
            'face, or set evaluation.learns = "subject".'
        )
    return Likeness(learned, torch.stack(rows))


def features(networks: Networks, learned: Learned, pictures: Pictures) -> list[Tensor | None]:
    """The vector of each picture that likeness is measured by."""
    if learned == "face":
        return [None if face is None else face.float() for face in networks.face.call(pictures)]
    network = networks.instance if learned == "subject" else networks.style
    return list(network.call(pictures).float())


def network_of(networks: Networks, score: str) -> str:
    """What a score is printed under."""
    roles: Mapping[str, Named[object]] = {
        FIDELITY["subject"]: networks.instance,
        FIDELITY["style"]: networks.style,
        FIDELITY["face"]: networks.face,
        PROMPT: networks.image,
        DIVERSITY: networks.perceptual,
        DRIFT: networks.image,
    }
    return roles[score].name


def measured(
    networks: Networks,
    references: Mapping[int, Likeness],
    learned: Learned,
    probes: Sequence[Probe],
    pictures: Pictures,
    *,
    is_diverse: bool = True,
) -> dict[str, Values]:
    """Likeness, prompt fidelity and diversity of pictures, one value for each; neutral ones have a prompt alone.

    is_diverse: whether a network is there that diversity can be measured by.
    """
    own = [i for i, probe in enumerate(probes) if not probe.is_neutral]
    like: Values = [None] * len(probes)
    for concept in {probes[i].concept for i in own}:
        rows = [i for i in own if probes[i].concept == concept]
        for i, value in zip(rows, references[concept].of(networks, [pictures[i] for i in rows]), strict=True):
            like[i] = value
    shown, said = networks.image.call(pictures).float(), networks.text.call([probe.text for probe in probes]).float()
    told = {FIDELITY[learned]: like, PROMPT: (shown * said).sum(1).tolist()}
    return told | ({DIVERSITY: diversity(networks, probes, pictures)} if is_diverse else {})


def diversity(networks: Networks, probes: Sequence[Probe], pictures: Pictures) -> Values:
    """The mean distance of each picture from the others of its prompt; None for neutral ones, and where it is alone."""
    values: Values = [None] * len(probes)
    groups: dict[tuple[str, int], list[int]] = {}
    for i, probe in enumerate(probes):
        if not probe.is_neutral:
            groups.setdefault((probe.prompt, probe.concept), []).append(i)
    for rows in (rows for rows in groups.values() if len(rows) > 1):
        pairs = [(a, b) for a in rows for b in rows if a < b]
        distances = networks.perceptual.call([pictures[a] for a, _ in pairs], [pictures[b] for _, b in pairs]).tolist()
        for row in rows:
            of_row = [distance for pair, distance in zip(pairs, distances, strict=True) if row in pair]
            values[row] = sum(of_row) / len(of_row)
    return values


def by_prompt(probes: Sequence[Probe], values: Sequence[float | None]) -> list[float]:
    """The mean of each prompt's pictures that have a value. Their diversities are made of the same distances, so that
    only prompts tell anything on their own."""
    groups: dict[tuple[str, int], list[float]] = {}
    for probe, value in zip(probes, values, strict=True):
        if value is not None:
            groups.setdefault((probe.prompt, probe.concept), []).append(value)
    return [sum(group) / len(group) for group in groups.values()]


def drift(networks: Networks, probes: Sequence[Probe], pictures: Pictures, untouched: Pictures) -> dict[str, Values]:
    """How far neutral pictures are from what the untouched base made of the same prompt and seed: 1 - cosine."""
    rows = [i for i, probe in enumerate(probes) if probe.is_neutral]
    now = networks.image.call([pictures[i] for i in rows]).float()
    before = networks.image.call([untouched[i] for i in rows]).float()
    values: Values = [None] * len(probes)
    for i, cosine in zip(rows, (now * before).sum(1).tolist(), strict=True):
        values[i] = 1 - cosine
    return {DRIFT: values}


def ignored(networks: Networks, probes: Sequence[Probe], pictures: Pictures) -> dict[str, Values]:
    """The mean cosine of each neutral picture with the prompts of the others: what a prompt that is ignored would have.

    0 where there are no others.
    """
    rows = [i for i, probe in enumerate(probes) if probe.is_neutral]
    shown = networks.image.call([pictures[i] for i in rows]).float()
    said = networks.text.call([probes[i].text for i in rows]).float()
    cosines = shown @ said.T
    others = (cosines.sum(1) - cosines.diagonal()) / max(1, len(rows) - 1)
    values: Values = [None] * len(probes)
    for i, value in zip(rows, others.tolist(), strict=True):
        values[i] = value if len(rows) > 1 else 0.0
    return {OTHER_PROMPTS: values}
