"""A run that was scored: four steps of a small set of pictures, a choice, and the events that tell of it."""

from pathlib import Path

from tests.unit.report.sample_run import picture, write_run

from maquette.runs.best import Best, write_best
from maquette.runs.events import Event, Finished, Previewed, Scored, append_events, keep_until
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, PROMPT
from maquette.runs.rundir import RunDir

ASKED = ("a photo of sks mug in the city", "a watercolor of sks mug")
NEUTRAL = "a photo of a mug in the city"
LIKE = {0: 0.1, 10: 0.5, 20: 0.6, 40: 0.65}
FOLLOWED = {0: 0.6, 10: 0.58, 20: 0.55, 40: 0.3}
BEST = 20


def write_scored_run(root: Path, *sets: str) -> RunDir:
    """A finished run with scores, and best/."""
    run = write_run(root, *sets)
    keep_until(run.events, 40)
    append_events(run.events, [event for step in LIKE for event in scored(run, step)])
    append_events(run.events, [Finished(40, 75.0)])
    run.best.mkdir()
    best = Best(
        step=BEST,
        after=40,
        by="scores",
        rule="The earliest checkpoint of all <rules>.",
        reason="Its balance of 0.71 is the highest of 3 checkpoints.",
        findings=("It overfits after step 20: prompts are followed less (0.55 to 0.30).",),
    )
    write_best(run.best, best)
    return run


def scored(run: RunDir, step: int) -> list[Event]:
    events: list[Event] = []
    asked = [(prompt, seed) for prompt in ASKED for seed in (0, 1)]
    for number, (prompt, seed) in enumerate([*asked, (NEUTRAL, 0)]):
        file = run.scored_picture(step, number)
        file.parent.mkdir(exist_ok=True)
        picture(5000 + 100 * step + number).save(file)
        scores = {FIDELITY["subject"]: LIKE[step] + seed / 100, PROMPT: FOLLOWED[step], DIVERSITY: 0.4}
        neutral = {PROMPT: 0.6} | ({DRIFT: step / 100} if step else {})
        events.append(Previewed(step, prompt, seed, run.relative(file), neutral if prompt == NEUTRAL else scores))
    for name, value in ((FIDELITY["subject"], LIKE[step]), (PROMPT, FOLLOWED[step]), (DIVERSITY, 0.4)):
        events.append(Scored(step, name, value, value - 0.05, value + 0.04, "judge"))
    return events
