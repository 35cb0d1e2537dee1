"""The folder best/ of a run: the files of the checkpoint that was chosen so far, and the reasons."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import replace

from maquette.adapters.delta import LowRank
from maquette.adapters.embeddings import read_embeddings, write_embeddings
from maquette.adapters.export import export_adapter
from maquette.adapters.keys import Layout
from maquette.adapters.read import read_adapter
from maquette.config.adapter import FullConfig
from maquette.config.schema import RunConfig
from maquette.errors import ConfigError
from maquette.evaluation.choice import RULE, choose, choose_by_loss, is_spent
from maquette.evaluation.overfitting import findings, loss_findings
from maquette.runs.best import Best, read_best, write_best
from maquette.runs.events import Log, Scored, read_events
from maquette.runs.files import replacing
from maquette.runs.names import LOSS, NAMES
from maquette.runs.rundir import RunDir
from maquette.training.finish import about, export_now, step_file, step_tokens, tokens_of
from maquette.training.prepare import Job
from maquette.training.scoring import Scoring

LOSS_RULE = "The checkpoint with the lowest loss on held-out pictures; no network is at hand that could score pictures."


def check_patience(config: RunConfig, *, is_scored: bool) -> None:
    """Raise ConfigError for a patience that nothing can end: nothing is scored, and nothing held out."""
    patience = config.evaluation.patience
    if not patience or config.validation or is_scored:
        return
    raise ConfigError(
        f"evaluation.patience = {patience}: no pictures are scored and none are held out, so no checkpoint can be told "
        "to be the best, and the run would never end by it. Have pictures scored (evaluation.every above 0; "
        "[evaluation.networks]; a data.trigger where captions have no words in common), hold some out ([validation]), "
        "or remove evaluation.patience."
    )


def keep_best(job: Job, run: RunDir, layout: Layout, scoring: Scoring | None, step: int) -> list[str]:
    """Bring best/ up to date; a sentence where the run's patience has ended with it."""
    best, patience = update_best(job, run, layout, scoring, step), job.config.evaluation.patience
    if best is None or step == job.steps or not is_spent(best.step, best.balance, patience):
        return []
    return [
        f"Ended at step {step} of {job.steps}: {patience} checkpoints after the best, of step {best.step}, were no "
        "better (evaluation.patience)."
    ]


def update_best(job: Job, run: RunDir, layout: Layout, scoring: Scoring | None, step: int) -> Best | None:
    """Choose among the checkpoints so far, and keep the chosen one's files in best/; None where nothing is measured.

    An adapter is chosen among all that were scored. A whole model is too large to keep every one: it is chosen between
    the one that is kept already and the present one, and what was compared before is known from best.json.
    """
    log = read_events(run.events)
    losses = losses_of(log)
    kept = read_best(run)
    is_whole = isinstance(job.config.adapter, FullConfig)
    here = {kept.step if kept else step, step} if is_whole else None
    before = kept.balance if kept and is_whole else {}
    if scoring is not None:
        readings = scoring.readings(run, log)
        scored, there = readings[1:], [r for r in readings[1:] if here is None or r.step in here]
        if not there or readings[0].step != 0:  # nothing yet, or somebody took the log away
            return None
        base = readings[0]
        choice = choose(there, scoring.scale(log))
        said = [*findings(scoring.learned, base, scored, choice), *loss_findings(losses)]
        rule, reason = RULE, choice.reason
    else:
        there = [(at, loss) for at, loss in losses if at in here] if here else saved(run, losses)
        if not there:
            return None
        choice = choose_by_loss(there)
        said, rule = loss_findings(losses), LOSS_RULE
        reason = f"The validation loss there is {choice.balance[choice.step]:.4f}."
    best = Best(
        step=choice.step,
        after=step,
        by="scores" if scoring is not None else "validation loss",
        rule=rule,
        reason=reason,
        scores={e.name: e.value for e in log.of(Scored) if e.step == choice.step and e.name in (*NAMES, LOSS)},
        balance={at: value for at, value in before.items() if at < step} | choice.balance,
        findings=tuple(said),
    )
    if kept is None or kept.step != choice.step:
        write_files(job, run, layout, choice.step)
    write_best(run.best, best)
    if kept is not None and kept.step != choice.step:
        for file in (step_file(run, kept.step), step_tokens(run, kept.step)):
            (run.best / file.name).unlink(missing_ok=True)
    return best


def losses_of(log: Log) -> list[tuple[int, float]]:
    """The validation loss of every step behind the first, as far as it is a number."""
    return [(e.step, e.value) for e in log.of(Scored) if e.name == LOSS and e.step and math.isfinite(e.value)]


def saved(run: RunDir, losses: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Those losses of whose step the adapter, or the new tokens without one, are kept."""
    return [(step, loss) for step, loss in losses if step_file(run, step).is_file() or step_tokens(run, step).is_file()]


def write_files(job: Job, run: RunDir, layout: Layout, step: int) -> None:
    """Write adapter and new tokens of a step to best/, in the dialects that export/ has; or the whole model as is."""
    run.best.mkdir(exist_ok=True)
    if isinstance(job.config.adapter, FullConfig):
        export_now(job, run.best, run.root.name, layout)
        return
    file = step_file(run, step)
    if tokens := tokens_of(job, layout):
        kept = replace(tokens, rows=read_embeddings(step_tokens(run, step)).rows)
        write_embeddings(run.best, kept, about(job, file.stem))
    if not file.is_file():
        return
    delta = read_adapter(file, layout).delta
    with replacing(run.best / file.name) as temporary:
        shutil.copyfile(file, temporary)
    if all(isinstance(update.factors, LowRank) for update in delta.values()):
        path, precision = run.best / "pytorch_lora_weights.safetensors", job.config.output.precision
        export_adapter(path, delta, layout, "diffusers", about(job, file.stem), precision=precision)
