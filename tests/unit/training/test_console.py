"""What is told of a run where the output is no terminal."""

from types import SimpleNamespace

from maquette.runs.events import Step
from maquette.training.console import counting, training_line


def test_lines_come_now_and_then_and_the_last_step_has_one(capsys):
    with training_line(30) as line:
        for step in (10, 20, 30):
            line.update(Step(step, step, 0.5, 1.0, 1.0, {"denoiser": 1e-4}), 10)
    told = capsys.readouterr().err.splitlines()
    assert [text.partition(" · ")[0] for text in told] == ["step 10/30", "step 30/30"]


def test_work_that_takes_long_is_told_of_and_short_work_is_not(capsys, monkeypatch):
    clock = iter((100.0, 104.0, 111.0, 112.0))
    monkeypatch.setattr("maquette.training.console.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with counting("Class images") as report:
        for done in (1, 2, 3):
            report(done, 3, "")
    assert capsys.readouterr().err == "Class images 2/3\n"
