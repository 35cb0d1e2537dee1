"""Learning rates of the two factors: S0's table, true in-features, few groups, and what a step of AdamW then moves."""

import math

import pytest
import torch
from tests.unit.adapters import small

from maquette.adapters.attach import attach
from maquette.adapters.rates import ratio
from maquette.config.factors import AdaptiveRatioConfig, FixedRatioConfig
from maquette.config.schema import RunConfig

# gamma sqrt(n / r), at least 1, for n = 320, 640, 1024, 1280
TABLE = {
    4: (8.944, 12.649, 16, 17.889),
    32: (3.162, 4.472, 5.657, 6.325),
    64: (2.236, 3.162, 4, 4.472),
    256: (1.118, 1.581, 2, 2.236),
    448: (1, 1.195, 1.512, 1.690),
    896: (1, 1, 1.069, 1.195),
}
EVERYTHING = "attention+feed_forward+convolutions"


@pytest.mark.parametrize("rank", TABLE)
def test_the_adaptive_ratio_has_the_published_values(rank):
    found = [ratio(AdaptiveRatioConfig(), inputs=n, rank=rank) for n in (320, 640, 1024, 1280)]
    assert found == pytest.approx(TABLE[rank], abs=5e-4)


def test_gamma_multiplies_and_the_clamp_can_be_opened():
    assert ratio(AdaptiveRatioConfig(gamma=2.0), inputs=64, rank=4) == 8
    assert ratio(AdaptiveRatioConfig(), inputs=4, rank=16) == 1
    assert ratio(AdaptiveRatioConfig(clamp=False), inputs=4, rank=16) == 0.5


def test_the_old_code_is_reproduced_on_request():
    """It took the larger of rank and inputs, in steps, so that at rank 896 all of them but the last are one."""
    found = [ratio(AdaptiveRatioConfig(target="A"), inputs=n, rank=896) for n in (320, 640, 896, 1024, 1280, 2048)]
    assert found == pytest.approx([math.sqrt(1024 / 896)] * 4 + [math.sqrt(1280 / 896)] * 2)


def attached(kind="sd1", text="none", **adapter):
    models = small.models(kind)
    tree = {"adapter": {"kind": "lora", "rank": 4, **adapter}, "text_encoder": {"train": text}}
    config = RunConfig.model_validate(tree | {"optimizer": {"kind": "adamw", "lr": 1e-3}})
    rng = torch.Generator().manual_seed(0)
    return models, attach(config, models, steps=10, weight_decay=0.01, rng=rng)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_up_matrices_are_grouped_by_the_true_inputs_of_their_layer(kind):
    models, trainable = attached(kind=kind, targets=EVERYTHING, rank=8, lr_ratio={"kind": "adaptive"})
    groups = {id(p): group for group in trainable.groups for p in group.params}
    assert len(groups) == sum(len(group.params) for group in trainable.groups)
    assert groups.keys() == {id(p) for p in trainable.parameters().values()}
    assert {group.weight_decay for group in trainable.groups} == {0.01}
    weights = dict(models.modules["denoiser"].named_parameters())
    rates = set()
    for name, param in trainable.parameters().items():
        path, _, factor = name.rpartition(".lora_")
        raised = factor.startswith("B")
        inputs = weights[f"{path}.base_layer.weight"][0].numel() if raised else 0
        expected = 1e-3 * max(1.0, math.sqrt(inputs / 8)) if raised else 1e-3
        assert groups[id(param)].lr == pytest.approx(expected, rel=1e-5)
        rates.add(round(expected, 12))
    assert len(trainable.groups) == len(rates)
    assert [group.lr for group in trainable.groups] == sorted(group.lr for group in trainable.groups)
    assert len({group.name for group in trainable.groups}) == len(rates)


def test_one_group_without_a_ratio_and_two_with_a_fixed_one():
    assert [g.name for g in attached()[1].groups] == ["denoiser"]
    _, trainable = attached(text="lora", lr_ratio={"kind": "fixed"})
    assert [(g.name, g.lr) for g in trainable.groups] == [
        ("denoiser", 1e-3),
        ("denoiser B x16", 16e-3),
        ("text_encoder", 1e-3),
        ("text_encoder B x16", 16e-3),
    ]
    assert ratio(FixedRatioConfig(ratio=4.0), inputs=1, rank=100) == 4


def test_a_rank_above_the_inputs_is_not_taken_for_them():
    """The larger side of a factor is its rank there."""
    _, trainable = attached(targets=["to_q"], rank=64, lr_ratio={"kind": "adaptive"})
    assert [group.lr for group in trainable.groups] == [1e-3]


@pytest.mark.parametrize(
    ("ratios", "raised"), [({"kind": "adaptive"}, "B"), ({"kind": "adaptive", "target": "A"}, "A")]
)
def test_the_first_step_moves_the_raised_factor_by_its_ratio(ratios, raised):
    models, trainable = attached(targets=["attn1.to_q"], rank=2, lr_ratio=ratios)
    with torch.no_grad():
        for param in trainable.parameters().values():
            param.normal_(generator=torch.Generator().manual_seed(1))
    before = {name: param.detach().clone() for name, param in trainable.parameters().items()}
    slots = [{"params": group.params, "lr": group.lr} for group in trainable.groups]
    optimizer = torch.optim.AdamW(slots, eps=1e-20, weight_decay=0.0)
    small.forward(models).square().mean().backward()
    optimizer.step()
    weights = dict(models.modules["denoiser"].named_parameters())
    for name, param in trainable.parameters().items():
        moved = (param - before[name]).abs().median().item()  # Adam's first step is the sign of the gradient
        inputs = {"A": 320, "B": weights[f"{name.partition('.lora_')[0]}.base_layer.weight"].shape[1]}[raised]
        expected = math.sqrt(inputs / 2) if f"lora_{raised}" in name else 1.0
        assert moved == pytest.approx(1e-3 * expected, rel=1e-3)
