"""What pictures are made with, before anything is loaded."""

import json
from pathlib import Path

import pytest

from maquette.config.load import load_config
from maquette.config.toml import dump
from maquette.errors import ConfigError
from maquette.generation.batch import Maker, make_pictures
from maquette.runs.rundir import RunDir


def whole_run(root: Path, pipeline: str) -> RunDir:
    """A finished run that trained all of a model: its settings, and what says which model that is."""
    run = RunDir(root)
    for folder in (run.export, run.best):
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    run.config.write_text(dump(load_config(sets=['adapter.kind="full"'])))
    return run


@pytest.mark.parametrize(
    ("pipeline", "flag"),
    [
        ("KandinskyV22PriorPipeline", "--prior"),
        ("KandinskyV22Pipeline", "--base"),
        ("StableDiffusionPipeline", "--base"),
    ],
)
def test_a_run_that_trained_all_of_a_model_is_no_adapter_and_the_flag_for_it_is_told(pipeline, flag, tmp_path):
    run = whole_run(tmp_path / "run", pipeline)
    for path, model in ((run.root, run.export), (run.export, run.export), (run.best, run.best)):
        with pytest.raises(ConfigError) as told:
            make_pictures(Maker("base", [(path, 1.0)]), [], tmp_path / "out")
        assert str(told.value).endswith(f"not an adapter. Give it as {flag} {model / 'model'}.")
