"""What `maquette evaluate` and `compare` share: from words to targets, and from scores to files and a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maquette.errors import ConfigError
from maquette.report.scored import in_words, interval_of, metric_name, total_of, value_of, verdicts
from maquette.runs.scores import FILE, Evaluation, Scores, write_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maquette.config.suites import Suite
    from maquette.evaluation.learned import Asked
    from maquette.evaluation.networks import Networks
    from maquette.evaluation.target import Opening, Target

logger = logging.getLogger(__name__)

JUDGES = {"judge", "verifier"}
KNOWN = "maquette-64"
"""The base whose pictures the judges know."""

FEATURES = "features"
"""The folder of what networks made of pictures, so that a second call need not ask them again."""

COLOURS = {"better": "green", "worse": "yellow", "equal within noise": "dim", "no score": "red"}


@dataclass(frozen=True, slots=True)
class Scorer:
    """Which networks score, as the command line has it, and where they run; "auto" leaves it to the file."""

    file: Path | None
    judge: str | None
    device: str

    def open(self, kept: Path) -> Networks:
        """The networks, which keep in a folder what they have seen.

        Raises ConfigError for both a file and a judge, or for a device that there is not.
        """
        from maquette.config.load import load_networks
        from maquette.data.cache import Cache
        from maquette.evaluation.cache import Memory, remembering
        from maquette.evaluation.networks import judge_networks, open_networks
        from maquette.families.placement import choose_device

        if self.file is not None and self.judge is not None:
            raise ConfigError("--networks and --judge both say what scores; give one of them.")
        if self.file is not None:
            config = load_networks(self.file)
            own = {} if self.device == "auto" else {"device": self.device}
            networks = open_networks(config.model_copy(update=own))
        else:
            device = choose_device(self.device)
            networks = judge_networks("verifier" if self.judge == "verifier" else "judge", device)
        return remembering(networks, Memory(Cache(kept, ram_limit=0)))


def score_targets(
    words: Sequence[str],
    suite: Suite,
    asked: Asked,
    opening: Opening,
    scorer: Scorer,
    out: Path | None,
    checkpoint: str | None = None,
    strengths: str | None = None,
) -> None:
    """Evaluate what some words name, write scores and page, and show the table.

    out: the folder of the results; None is each target's own.
    """
    from maquette.evaluation.evaluate import evaluate, prepare
    from maquette.evaluation.strength import parse_strengths
    from maquette.evaluation.target import distinct_names

    targets = _opened(words, opening, checkpoint)
    if strengths is not None:
        if not targets[0].maker.adapters:
            raise ConfigError(
                f"--strengths {strengths}: {words[0]} wears no adapter, so there is no strength to change."
            )
        targets = [targets[0].at(strength) for strength in parse_strengths(strengths)]
        _require_fidelities(suite)
    targets = distinct_names(targets)
    bench = prepare(targets, suite, asked)
    homes = [target.home / suite.name if len(words) > 1 or out is None else out for target in targets]
    folders = [home / target.part for home, target in zip(homes, targets, strict=True)]
    folder = out or homes[0]
    networks = scorer.open(folder / FEATURES)
    _warn_strangers({target.maker.model().base for target in targets}, networks)
    scores = evaluate(targets, bench, networks, folders, folder)
    one = targets[0].run.root.resolve().name if targets[0].run is not None else Path(words[0]).stem
    _finish(replace(scores, title=one) if len(words) == 1 else scores, folder)
    if strengths is not None and targets[0].run is not None and checkpoint is None:
        _recommend(targets[0], scores)


def score_pictures(pictures: Path, suite: Suite, asked: Asked, scorer: Scorer, out: Path | None) -> None:
    """Score a folder of finished pictures; results go beside it, never into it."""
    from maquette.evaluation.finished import evaluate_finished, prepare_finished

    finished = prepare_finished(pictures, suite, asked)
    folder = out or pictures.parent / f"{pictures.resolve().name}-{suite.name}"
    networks = scorer.open(folder / FEATURES)
    _warn_strangers({picture.base for picture in finished.pictures}, networks)
    _finish(evaluate_finished(finished, suite, networks, folder), folder)


def show(scores: Scores, console: Console) -> None:
    """The table of some scores, and what it says in words."""
    several = len(scores.evaluations) > 1
    table = Table(title=f"suite {scores.suite}, scored by {', '.join(scores.networks)}", title_justify="left")
    if several:
        table.add_column("")
        for score in scores.evaluations[0].scores:
            table.add_column(metric_name(score.name))
        for each in scores.evaluations:
            table.add_row(escape(each.name), *_cells(scores, each))
    else:
        for heading in ("metric", "score", "95 % interval", "better", "pictures", "by"):
            table.add_column(heading)
        for score in scores.evaluations[0].scores:
            known = (score.better, str(score.n), escape(score.network)) if score.is_score else ("", "", "")
            table.add_row(metric_name(score.name), value_of(score), interval_of(score), *known)
    console.print(table)
    for each in scores.evaluations:
        if each.totals:
            told = ", ".join(f"{name} {total_of(value)}" for name, value in each.totals.items())
            console.print(f"{each.name}: {told}", markup=False)
    for sentence in (*in_words(scores), *([scores.strength.words] if scores.strength is not None else [])):
        console.print(sentence, markup=False)
    for warning in scores.warnings:
        logger.warning("%s", warning)


def _cells(scores: Scores, evaluation: Evaluation) -> list[str]:
    found = verdicts(scores, evaluation)
    cells = []
    for score in evaluation.scores:
        lines = [value_of(score), f"[dim]{interval_of(score)}[/dim]"]
        if score.name in found:
            verdict = found[score.name].verdict
            lines.append(f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}]")
        cells.append("\n".join(lines))
    return cells


def _opened(words: Sequence[str], opening: Opening, checkpoint: str | None) -> list[Target]:
    """Every target in its order; the word base stands for the base that the first of the others stands on."""
    from maquette.evaluation.target import BASE, base_target, open_target

    if twice := next((word for i, word in enumerate(words) if word in words[:i]), None):
        raise ConfigError(f"{twice} is named twice; compare different things.")
    is_plain = BASE in words and checkpoint is None
    named = {word: [] if word == BASE and is_plain else open_target(word, opening, checkpoint) for word in words}
    if is_plain:
        named[BASE] = [base_target(opening, next((each[0] for each in named.values() if each), None))]
    return [target for targets in named.values() for target in targets]


def _require_fidelities(suite: Suite) -> None:
    from maquette.evaluation.evaluate import metric_names
    from maquette.evaluation.strength import LIKENESSES, PROMPT, likeness_of

    measured = metric_names(suite)
    lacking = [] if likeness_of(measured) else [" or ".join(LIKENESSES)]
    lacking += [] if PROMPT in measured else [PROMPT]
    if lacking:
        raise ConfigError(
            f"--strengths: suite {suite.name} does not measure {', '.join(lacking)}, by which strengths are chosen. "
            "Use another suite, such as world, or add them to its metrics."
        )


def _warn_strangers(bases: set[str], networks: Networks) -> None:
    """The judges have seen the embedded world and nothing else, and pictures of an unknown base may show anything."""
    if bases - {KNOWN} and networks.image.name in JUDGES:
        logger.warning(
            "The embedded judge knows pictures of maquette-64 alone: of other models its scores mean little. Name real "
            "networks with --networks."
        )


def _finish(scores: Scores, folder: Path) -> None:
    from maquette.report.evaluation import write_page

    write_scores(folder / FILE, scores)
    page = write_page(folder, scores)
    show(scores, Console(soft_wrap=False))
    typer.echo(f"Scores: {folder / FILE}\nPage: {page}")


def _recommend(target: Target, scores: Scores) -> None:
    """Keep the recommended strengths with the run, and write what shows them again."""
    from maquette.report.card import write_card
    from maquette.report.html import write_report

    run = target.run
    assert run is not None
    write_scores(run.strengths, scores)
    write_card(run)
    write_report(run)
    typer.echo(f"The card and the report of the run say so: {run.card}, {run.report}")
