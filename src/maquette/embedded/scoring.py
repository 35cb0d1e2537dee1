"""Whether pictures show what their prompts claim, as a judge reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from maquette.embedded.claims import claims
from maquette.errors import DataError
from maquette.evaluation.judge import Judge


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one picture: which of its prompt's claims are right.

    right: by attribute, for what the prompt claims and the judge can read. unread: claims whose value the judge has no
    word for, such as a held-out kind of object; they count neither way.
    """

    right: Mapping[str, bool]
    unread: Mapping[str, str]


def score_prompts(judge: Judge, images: UInt8[Tensor, "n 3 h w"], prompts: Sequence[str]) -> list[Verdict]:
    """Compare each picture with the claims of its own prompt. Raises DataError where the numbers of the two differ."""
    if len(prompts) != len(images):
        raise DataError(f"{len(images)} pictures but {len(prompts)} prompts: give each picture its own prompt.")
    values = judge.read(images).values
    verdicts = []
    for i, prompt in enumerate(prompts):
        claimed = claims(prompt)
        said = {name: value for name in judge.attributes if isinstance(value := getattr(claimed, name), str)}
        readable = {name: value for name, value in said.items() if value in judge.attributes[name]}
        right = {name: values[name][i] == value for name, value in readable.items()}
        verdicts.append(Verdict(right, {name: value for name, value in said.items() if name not in readable}))
    return verdicts


def share_right(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """By attribute, the share of claims that are right, among the pictures whose prompt makes one."""
    names = dict.fromkeys(name for verdict in verdicts for name in verdict.right)
    answers = {name: [v.right[name] for v in verdicts if name in v.right] for name in names}
    return {name: sum(found) / len(found) for name, found in answers.items()}
