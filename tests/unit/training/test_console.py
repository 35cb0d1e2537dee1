"""What is told of a run where the output is no terminal."""

from maquette.runs.events import Step
from maquette.training.console import training_line


def test_lines_come_now_and_then_and_the_last_step_has_one(capsys):
    with training_line(30) as line:
        for step in (10, 20, 30):
            line.update(Step(step, step, 0.5, 1.0, 1.0, {"denoiser": 1e-4}), 10)
    told = capsys.readouterr().err.splitlines()
    assert [text.partition(" · ")[0] for text in told] == ["step 10/30", "step 30/30"]
