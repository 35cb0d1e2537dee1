import pytest

from maquette.config.compare import Change, changes, resume_refusals
from maquette.config.load import load_config
from maquette.config.schema import RunConfig, resolved


def run(*sets: str, folder: str = "/photos") -> RunConfig:
    return resolved(load_config(flags={"SOURCE": folder}, sets=sets), pictures=5)


def test_a_configuration_does_not_differ_from_itself():
    assert changes(run(), run()) == []


def test_changes_are_told_as_toml():
    found = changes(
        run("adapter.rank=8"), run("adapter.rank=8", "adapter.dropout=0.1", "data.prompt=a dog", "validation={}")
    )
    assert Change("data.prompt", "unset", '"a dog"') in found
    assert Change("adapter.dropout", "0.0", "0.1") in found
    assert Change("validation.hold_out", "unset", "0.1") in found
    assert str(found[0]) == 'data.prompt: unset -> "a dog"'


def test_another_kind_shows_every_key_of_both():
    paths = {change.path for change in changes(run(), run("adapter.kind=full"))}
    assert {"adapter.kind", "adapter.rank", "adapter.targets", "optimizer.lr"} <= paths


def test_changes_inside_concepts_have_their_number():
    old = load_config(sets=["concepts=[{folder='/a'}, {folder='/b'}]"])
    new = load_config(sets=["concepts=[{folder='/a'}, {folder='/b', repeats=2}]"])
    assert changes(old, new) == [Change("concepts.1.repeats", "1", "2")]


@pytest.mark.parametrize(
    "allowed",
    [
        "training.steps=501",
        "checkpoints.every=7",
        "checkpoints.keep=1",
        "preview.prompts=['a']",
        "preview.every=0",
        "logging.trackers=[]",
        "output.precision=fp16",
        "output.dir=/elsewhere",
    ],
)
def test_a_resume_may_go_on_longer_and_look_more_often(allowed: str):
    assert changes(run(), run(allowed)) != []
    assert resume_refusals(run(), run(allowed)) == []


@pytest.mark.parametrize(
    "refused",
    [
        "training.steps=499",
        "training.seed=1",
        "training.batch_size=2",
        "training.device=cpu",
        "adapter.rank=8",
        "optimizer.lr=2e-4",
        "loss.noise_offset=0.1",
        "data.folder=/others",
        "validation={}",
        "model.base=other",
    ],
)
def test_a_resume_may_not_become_another_run(refused: str):
    found = resume_refusals(run(), run(refused))
    assert refused.partition("=")[0] in {change.path.removesuffix(".hold_out") for change in found}
