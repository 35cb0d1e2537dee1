import json
from typing import get_args

import pytest
from pydantic import ValidationError

from maquette.config.adapter import FullConfig, LoraConfig
from maquette.config.compare import resume_refusals
from maquette.config.keys import keys, tables
from maquette.config.optimization import AdamWConfig, LionConfig, ProdigyConfig, TrainingConfig
from maquette.config.schema import RunConfig, resolved


def test_the_defaults_are_a_valid_run():
    config = RunConfig()
    assert isinstance(config.adapter, LoraConfig)
    assert (config.adapter.rank, config.adapter.lora_alpha) == (16, 16.0)
    assert config.model.base == "maquette-64"
    assert config.class_images is None
    assert config.validation is None


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().training.seed = 1


@pytest.mark.parametrize(("rank", "given", "expected"), [(4, None, 4.0), (32, 16.0, 16.0), (8, 8, 8.0)])
def test_lora_alpha_follows_the_rank_unless_given(rank: int, given: float | None, expected: float):
    adapter = LoraConfig(rank=rank) if given is None else LoraConfig(rank=rank, lora_alpha=given)
    assert adapter.lora_alpha == expected


@pytest.mark.parametrize(
    ("pictures", "steps"), [(1, 400), (4, 400), (5, 500), (12, 1200), (20, 2000), (21, 2000), (5000, 2000)]
)
def test_auto_steps_are_a_hundred_a_picture_within_limits(pictures: int, steps: int):
    assert TrainingConfig().auto_steps(pictures) == steps
    assert TrainingConfig(steps=7).auto_steps(pictures) == 7


@pytest.mark.parametrize(
    ("adapter", "optimizer", "rate"),
    [
        (LoraConfig(), AdamWConfig(), 1e-4),
        (LoraConfig(), AdamWConfig(lr=3e-4), 3e-4),
        (FullConfig(), AdamWConfig(), 5e-6),
        (FullConfig(), AdamWConfig(lr=1e-4), 1e-4),
        (LoraConfig(), ProdigyConfig(), 1.0),
        (LoraConfig(), LionConfig(), 2e-5),
        (FullConfig(), LionConfig(), 1e-6),
    ],
)
def test_the_default_rate_depends_on_what_is_trained_and_how(adapter: object, optimizer: object, rate: float):
    assert RunConfig(adapter=adapter, optimizer=optimizer).denoiser_lr == pytest.approx(rate, rel=1e-12)


def test_text_encoders_follow_the_adapter_unless_told():
    plain = RunConfig.model_validate({"adapter": {"kind": "lora", "rank": 8, "lora_alpha": 4.0}})
    assert (plain.text_encoder_rank, plain.text_encoder_alpha, plain.text_encoder_lr) == (8, 4.0, 1e-4)
    own = RunConfig.model_validate(
        {"adapter": {"kind": "lora", "rank": 8, "lora_alpha": 4.0}, "text_encoder": {"train": "lora", "rank": 6}}
    )
    assert (own.text_encoder_rank, own.text_encoder_alpha) == (6, 3.0)
    told = RunConfig.model_validate({"text_encoder": {"train": "lora", "lr": 5e-5, "lora_alpha": 1.0}})
    assert (told.text_encoder_lr, told.text_encoder_alpha) == (5e-5, 1.0)


def test_resolving_writes_out_what_depends_on_other_things():
    config = RunConfig.model_validate({"text_encoder": {"train": "lora"}})
    final = resolved(config, pictures=7)
    assert final.training.steps == 700
    assert final.optimizer.lr == 1e-4
    assert (final.text_encoder.lr, final.text_encoder.rank, final.text_encoder.lora_alpha) == (1e-4, 16, 16.0)
    assert resolved(final, pictures=99) == final


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("text_encoder", {"text_encoder": {"train": "lora", "stop": 0.25}}),
        ("tokens", {"tokens": {"stop": 0.25}}),
    ],
)
def test_a_halting_point_is_stored_as_one_step_that_more_steps_do_not_move(part: str, settings: dict):
    config = RunConfig.model_validate({**settings, "training": {"steps": 10}})
    final = resolved(config, pictures=7)
    section = getattr(final, part)
    assert (section.stop, section.stop_step) == (None, 2)  # round(2.5): to the even neighbour
    longer = final.model_copy(update={"training": final.training.model_copy(update={"steps": 40})})
    assert getattr(longer, f"{part}_halt")(40) == 2
    assert resume_refusals(final, resolved(longer, pictures=7)) == []


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("text_encoder", {"text_encoder": {"train": "lora"}}),
        ("tokens", {"tokens": {"stop": 1.0}}),
        ("tokens", {"tokens": {}, "adapter": {"kind": "none"}}),
    ],
)
def test_what_learns_to_the_end_also_does_so_in_a_longer_run(part: str, settings: dict):
    final = resolved(RunConfig.model_validate(settings), pictures=7)
    section = getattr(final, part)
    assert (section.stop, section.stop_step) == (1.0, None)
    assert getattr(final, f"{part}_halt")(10**6) is None


def test_resolving_leaves_untrained_text_encoders_alone():
    for config in (RunConfig(), RunConfig(adapter=FullConfig()), RunConfig(optimizer=ProdigyConfig())):
        final = resolved(config, pictures=7)
        assert final.text_encoder == config.text_encoder
        assert final.denoiser_lr == config.denoiser_lr


@pytest.mark.parametrize("wrong", ["16", 16.5, True, None])
def test_numbers_are_numbers(wrong: object):
    with pytest.raises(ValidationError):
        RunConfig.model_validate({"training": {"batch_size": wrong}})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), True, "1"])
def test_rates_are_finite_numbers(wrong: object):
    with pytest.raises(ValidationError):
        RunConfig.model_validate({"optimizer": {"kind": "adamw", "lr": wrong}})


def test_every_setting_and_section_is_explained():
    unexplained = [key.path for key in keys() if not key.field.description and key.name != "kind"]
    unexplained += [path for path, table in tables().items() for each in table.classes if not each.__doc__]
    assert unexplained == []


def test_no_explanation_is_of_another_sort_than_a_sentence():
    assert [
        key.path for key in keys() if key.field.description and not key.field.description.strip().endswith(".")
    ] == []


def test_the_json_schema_describes_every_section():
    schema = json.loads(json.dumps(RunConfig.model_json_schema()))
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    kinds = {"lora", "dora", "loha", "lokr", "full", "none"}
    assert set(schema["properties"]["adapter"]["discriminator"]["mapping"]) == kinds
    assert schema["$defs"]["LoraConfig"]["additionalProperties"] is False


def test_the_samplers_are_those_of_generate():
    from maquette.config.running import Sampler
    from maquette.generation.schedulers import EDM_SCHEDULERS, SCHEDULERS

    assert get_args(Sampler) == (*SCHEDULERS, *EDM_SCHEDULERS)
