"""Which checkpoint a run chose, or why it chose none: the sentences that the report and the model card share."""

from dataclasses import dataclass

from maquette.config.adapter import FullConfig
from maquette.report.facts import Facts
from maquette.runs.rundir import BEST


@dataclass(frozen=True, slots=True)
class ChoiceInWords:
    """headline: which checkpoint to use. sentences: why, and what scores say of the run. rule: how it was chosen."""

    headline: str
    sentences: tuple[str, ...]
    rule: str
    is_chosen: bool


def choice_of(facts: Facts) -> ChoiceInWords:
    """The choice of a run in words."""
    best = facts.best
    if best is None:
        return ChoiceInWords("No checkpoint was chosen.", (_why_not(facts),), "", is_chosen=False)
    place = f"{facts.name}/{BEST}"
    is_whole = isinstance(facts.config.adapter, FullConfig)
    use = f"--base {place}/model" if is_whole else f"--adapter {place}"
    if best.step == facts.steps_done:
        headline = f"Use the last checkpoint, step {best.step}: it is the best."
        where = f"{BEST}/ holds the same weights as export/."
    else:
        headline = f"Use the checkpoint of step {best.step}: it is better than the last, or as good and earlier."
        where = f"It lies in {BEST}/: maquette generate ... {use}. What lies in export/ is step {facts.steps_done}."
    return ChoiceInWords(headline, (best.reason, *best.findings, where), best.rule, is_chosen=True)


def _why_not(facts: Facts) -> str:
    cure = (
        "Name networks that can read them ([evaluation.networks]), or hold pictures out ([validation]) to choose by "
        "their loss."
    )
    if facts.config.evaluation.every == 0:
        return "Scores were turned off (evaluation.every = 0), and no pictures were held out for a validation loss."
    if facts.base.kind != "embedded" and facts.config.evaluation.networks is None:
        return f"Pictures of {facts.base.name} were not scored: no network was named for them. {cure}"
    return "Nothing has been compared yet."
