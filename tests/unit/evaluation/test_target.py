"""What the words of a command line stand for, as far as it is known without loading a model."""

from pathlib import Path

import pytest
import torch
from tests.unit.report.sample_run import write_run

from maquette.adapters.files import write_tensors
from maquette.errors import CheckpointError, ConfigError
from maquette.evaluation.target import Opening, Target, base_target, distinct_names, open_target


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = write_run(tmp_path / "runs" / "mug").root
    (root / "export" / "pytorch_lora_weights.safetensors").unlink()
    for step in (20, 40):
        file = root / "export" / "steps" / f"mug-step{step:08d}.safetensors"
        file.parent.mkdir(exist_ok=True)
        write_tensors(file, {"lora_unet_x.alpha": torch.zeros(1)}, {})
    return root


def only(word: object, checkpoint: str | None = None) -> Target:
    (target,) = open_target(str(word), Opening(), checkpoint)
    return target


def test_a_run_wears_what_it_exported_on_its_own_base(run):
    target = only(run)
    assert target.name == "mug"
    assert target.maker.adapters == [(run, 1.0)]
    assert target.maker.model().base == "maquette-64"
    assert target.home == run / "evaluation"


def test_checkpoints_keep_the_base_of_their_run_and_folders_of_their_own(run):
    assert only(run, "20").maker.adapters[0][0].name == "mug-step00000020.safetensors"
    targets = open_target(str(run), Opening(), "all")
    assert [(target.name, target.part) for target in targets] == [("step 20", "step-20"), ("step 40", "step-40")]
    with pytest.raises(ConfigError, match=r"give best, all, or one of this run's steps: 20, 40\."):
        open_target(str(run), Opening(), "30")
    with pytest.raises(CheckpointError, match="there is no best/"):
        open_target(str(run), Opening(), "best")


def test_an_adapter_file_tells_its_trigger_and_shares_no_folder_with_its_namesakes(tmp_path):
    homes = []
    for place in ("one", "two"):
        file = tmp_path / place / "pytorch_lora_weights.safetensors"
        write_tensors(file, {"lora_unet_x.alpha": torch.zeros(1)}, {"modelspec.trigger_phrase": "sks mug"})
        target = only(file)
        assert target.trigger == "sks mug"
        homes.append(target.home)
    assert homes[0] != homes[1]


def test_a_whole_model_in_one_file_is_a_base_and_no_adapter(tmp_path):
    file = tmp_path / "merged.safetensors"
    write_tensors(file, {"model.diffusion_model.x": torch.zeros(1)}, {})
    assert only(file).maker.base == str(file)
    assert only(file).maker.adapters == []


def test_a_model_of_the_hub_is_a_base_with_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = only("stabilityai/sd-turbo")
    assert (target.name, target.maker.base, target.maker.adapters) == ("sd-turbo", "stabilityai/sd-turbo", [])
    assert target.home == Path("evaluation/stabilityai--sd-turbo")
    (tmp_path / "stabilityai").mkdir()  # of a folder of this machine, the rest may be mistyped
    with pytest.raises(ConfigError, match=r"no such file or folder\..* base --base stabilityai/sd-turbo"):
        only("stabilityai/sd-turbo")


@pytest.mark.parametrize("word", ["mug", "runs/mug/export", "./mug", "stabilityai/sd-turbo.safetensors"])
def test_what_can_be_no_model_of_the_hub_is_not_looked_for_there(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no such file or folder\. Give a run's folder"):
        only(word)


def test_the_base_is_the_one_that_others_stand_on(run):
    assert base_target(Opening(), only(run)).maker.model().base == "maquette-64"
    assert base_target(Opening(base="other")).maker.model().base == "other"
    assert base_target(Opening()).is_base


def test_a_whole_model_has_one_state(tmp_path):
    run = write_run(tmp_path / "full", 'adapter.kind="full"').root
    with pytest.raises(ConfigError, match="the end and the best alone are kept"):
        open_target(str(run), Opening(), "20")
    with pytest.raises(CheckpointError, match="export/model is not there yet"):
        open_target(str(run), Opening())


def test_strengths_are_states_of_one_adapter(run):
    half = only(run).at(0.5)
    assert (half.name, half.strength, half.part) == ("strength 0.5", 0.5, "pictures-strength-0.5")
    assert half.maker.adapters == [(run, 0.5)]


def test_namesakes_are_told_apart(tmp_path):
    a, b = (only(write_run(tmp_path / place / "mug").root) for place in ("a", "b"))
    assert [each.name for each in distinct_names([a, b])] == ["a/mug", "b/mug"]
