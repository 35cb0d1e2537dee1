"""Optimizers: every setting reaches its group, steps are the published ones, states survive storage to the bit."""

import json
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from maquette.adapters.base import ParamGroup
from maquette.config.optimization import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    LionConfig,
    ProdigyConfig,
    ScheduleFreeConfig,
)
from maquette.errors import CheckpointError, ConfigError, MissingDependencyError
from maquette.training.checkpoint import Piece
from maquette.training.ema import ready_to_use
from maquette.training.optim import build_optimizer, pack_state, unpack_state

CONFIGS = {
    "adamw": AdamWConfig(betas=(0.8, 0.95), eps=1e-6),
    "adamw8bit": AdamW8bitConfig(betas=(0.8, 0.95), eps=1e-6),
    "prodigy": ProdigyConfig(betas=(0.85, 0.98), beta3=0.9, eps=1e-7, d0=1e-4, d_coef=2.0, safeguard_warmup=False),
    "schedule_free": ScheduleFreeConfig(betas=(0.85, 0.98), eps=1e-6),
    "adafactor": AdafactorConfig(beta2_decay=-0.7, clip=0.5),
    "lion": LionConfig(betas=(0.8, 0.95)),
}


NAMES = [
    *(name for name in CONFIGS if name != "adamw8bit"),
    pytest.param(
        "adamw8bit",
        marks=pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="the extra quant is not installed"),
    ),
]


def groups(*, equal: bool = False) -> list[ParamGroup]:
    g = torch.Generator().manual_seed(3)
    first, second, third = (nn.Parameter(torch.randn(shape, generator=g)) for shape in ((4, 6), (8,), (2, 3, 3, 3)))
    zeros = nn.Parameter(torch.zeros(6, 4))  # as LoRA's up matrices start
    return [
        ParamGroup("denoiser", [first, zeros], 1.0 if equal else 1e-2, 0.1),
        ParamGroup("text_encoder", [second, third], 1.0 if equal else 3e-3, 0.02),
    ]


def built(name: str):
    own = groups(equal=name == "prodigy")
    return own, build_optimizer(CONFIGS[name], own)


def params_of(own: list[ParamGroup]) -> list[nn.Parameter]:
    return [param for group in own for param in group.params]


def descend(own: list[ParamGroup], optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Gradients towards 1, with noise that is a function of the step."""
    for step in steps:
        g = torch.Generator().manual_seed(step)
        for param in params_of(own):
            param.grad = param.detach() - 1 + 0.1 * torch.randn(param.shape, generator=g)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_group_has_its_parameters_rate_and_decay_in_order(name):
    own, optimizer = built(name)
    assert len(optimizer.param_groups) == len(own)
    for slot, group in zip(optimizer.param_groups, own, strict=True):
        assert [id(param) for param in slot["params"]] == [id(param) for param in group.params]
        assert slot["lr"] == group.lr
        assert slot["weight_decay"] == group.weight_decay


SETTINGS = {
    "adamw": {"betas": (0.8, 0.95), "eps": 1e-6, "fused": True, "amsgrad": False},
    "adamw8bit": {"betas": (0.8, 0.95), "eps": 1e-6},
    "prodigy": {
        "betas": (0.85, 0.98),
        "beta3": 0.9,
        "eps": 1e-7,
        "d0": 1e-4,
        "d": 1e-4,
        "d_coef": 2.0,
        "safeguard_warmup": False,
        "use_bias_correction": True,
        "decouple": True,
    },
    "schedule_free": {"betas": (0.85, 0.98), "eps": 1e-6, "warmup_steps": 0, "train_mode": True},
    "adafactor": {
        "decay_rate": -0.7,
        "clip_threshold": 0.5,
        "scale_parameter": False,
        "relative_step": False,
        "beta1": None,
    },
    "lion": {"betas": (0.8, 0.95), "weight_decouple": True},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_the_configuration_arrives(name):
    _, optimizer = built(name)
    for slot in optimizer.param_groups:
        assert {key: slot[key] for key in SETTINGS[name]} == SETTINGS[name]


def test_prodigy_is_set_as_its_users_recommend_and_says_nothing(capsys):
    own = [ParamGroup("denoiser", [nn.Parameter(torch.zeros(3))], 1.0, 0.01)]
    slot = build_optimizer(ProdigyConfig(), own).param_groups[0]
    expected = {"betas": (0.9, 0.99), "use_bias_correction": True, "safeguard_warmup": True, "decouple": True}
    assert {key: slot[key] for key in expected} == expected
    assert (slot["lr"], slot["weight_decay"], slot["beta3"], slot["d0"], slot["d_coef"]) == (1.0, 0.01, None, 1e-6, 1.0)
    assert capsys.readouterr().out == ""


def test_prodigy_refuses_unequal_rates_by_name():
    with pytest.raises(ConfigError, match=r"they are denoiser 0\.01, text_encoder 0\.003") as caught:
        build_optimizer(CONFIGS["prodigy"], groups())
    assert "text_encoder.lr" in str(caught.value)


@pytest.mark.parametrize("rate", [0.0, 5e-6])
def test_prodigy_refuses_a_rate_of_0_too_because_such_a_group_would_move(rate):
    own = [ParamGroup(n, [nn.Parameter(torch.ones(2))], lr) for n, lr in (("denoiser", 1.0), ("tokens", rate))]
    with pytest.raises(ConfigError, match="must be equal"):
        build_optimizer(ProdigyConfig(), own)


def test_schedule_free_refuses_a_first_beta_of_0():
    with pytest.raises(ConfigError, match=r"optimizer\.betas: the first is 0"):
        build_optimizer(ScheduleFreeConfig(betas=(0.0, 0.99)), groups())


@pytest.mark.parametrize(
    ("config", "module", "extra"),
    [
        (ScheduleFreeConfig(), "pytorch_optimizer", "optim"),
        (LionConfig(), "pytorch_optimizer", "optim"),
        (AdamW8bitConfig(), "bitsandbytes.optim", "quant"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, config, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # what importlib finds for a package that is not installed
    with pytest.raises(MissingDependencyError, match=rf"maquette\[{extra}\]") as caught:
        build_optimizer(config, groups())
    assert f'"{config.kind}"' in str(caught.value)


def test_eight_bit_states_refuse_a_device_that_has_no_kernels_for_them(monkeypatch):
    class Broken:
        def __init__(self, params: object) -> None: ...

        def step(self) -> None:
            raise RuntimeError("no kernel image is available")

    package = ModuleType("bitsandbytes.optim")
    package.AdamW8bit = Broken
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", package)
    with pytest.raises(ConfigError, match=r'cannot do it on "cpu" \(no kernel image'):
        build_optimizer(AdamW8bitConfig(), groups())


def test_eight_bit_states_are_eight_bits_and_continue_to_the_bit():
    pytest.importorskip("bitsandbytes", reason="the extra quant is not installed")

    def made(config: AdamWConfig | AdamW8bitConfig) -> tuple[list[ParamGroup], torch.optim.Optimizer]:
        g = torch.Generator().manual_seed(0)
        matrix, kernel = torch.randn(96, 64, generator=g), torch.randn(32, 32, 3, 3, generator=g)
        kernel = kernel.to(memory_format=torch.channels_last)  # the layout in which full fine-tuning finds some of them
        own = [ParamGroup("denoiser", [nn.Parameter(matrix), nn.Parameter(kernel)], 1e-2, 0.1)]
        return own, build_optimizer(config, own)

    whole, optimizer = made(AdamW8bitConfig())
    descend(whole, optimizer, range(9))
    assert all(memory["state1"].dtype is torch.uint8 for memory in optimizer.state.values())
    exact, other = made(AdamWConfig())
    start = [param.detach().clone() for param in params_of(exact)]
    descend(exact, other, range(9))
    for a, b, before in zip(params_of(whole), params_of(exact), start, strict=True):
        assert (a - b).norm() < 0.1 * (b - before).norm()

    first, optimizer = made(AdamW8bitConfig())
    descend(first, optimizer, range(4))
    piece, weights = stored(pack_state(optimizer)), [param.detach().clone() for param in params_of(first)]
    second, optimizer = made(AdamW8bitConfig())
    with torch.no_grad():
        for param, weight in zip(params_of(second), weights, strict=True):
            param.copy_(weight)
    unpack_state(optimizer, piece)
    descend(second, optimizer, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(params_of(whole), params_of(second), strict=True))


def test_a_step_of_adamw_is_the_published_one():
    own, optimizer = built("adamw")
    before = [param.detach().clone() for param in params_of(own)]
    grads = [torch.full_like(param, 0.3) for param in before]
    for param, grad in zip(params_of(own), grads, strict=True):
        param.grad = grad.clone()
    optimizer.step()
    start = 0
    for group in own:
        for param, old in zip(group.params, before[start:], strict=False):
            # The first step's moments, corrected for their start, are the gradient and its square.
            expected = old * (1 - group.lr * group.weight_decay) - group.lr * 0.3 / (0.3 + 1e-6)
            torch.testing.assert_close(param.detach(), expected)
        start += len(group.params)


def test_adafactor_moves_zeros_by_the_rate_itself():
    """Scaled by the weights' size, as other implementations scale it, LoRA's up matrix would stay where it is."""
    own = [ParamGroup("denoiser", [nn.Parameter(torch.zeros(6, 4))], 1e-2)]
    optimizer = build_optimizer(AdafactorConfig(), own)
    own[0].params[0].grad = torch.full((6, 4), 0.3)
    optimizer.step()
    torch.testing.assert_close(own[0].params[0].detach(), torch.full((6, 4), -1e-2))


def test_lion_moves_by_the_sign():
    own = [ParamGroup("denoiser", [nn.Parameter(torch.ones(4))], 1e-2, 0.5)]
    optimizer = build_optimizer(LionConfig(), own)
    own[0].params[0].grad = torch.tensor([3.0, -0.001, 0.2, -7.0])
    optimizer.step()
    expected = 1 - 1e-2 * 0.5 - 1e-2 * torch.tensor([1.0, -1.0, 1.0, -1.0])
    torch.testing.assert_close(own[0].params[0].detach(), expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_descends(name):
    own, optimizer = built(name)
    before = [(param - 1).square().sum().item() for param in params_of(own)]
    descend(own, optimizer, range(200))
    with ready_to_use(optimizer):
        after = [(param - 1).square().sum().item() for param in params_of(own)]
    assert all(now < 0.7 * then for now, then in zip(after, before, strict=True))


def stored(piece: Piece) -> Piece:
    """Through bytes, as a checkpoint stores it."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in piece.tensors.items()}
    return Piece(load(save(tensors)), json.loads(json.dumps(piece.values, allow_nan=False)))


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_state_continues_to_the_bit(name, at):
    whole, optimizer = built(name)
    descend(whole, optimizer, range(12))

    first, optimizer = built(name)
    descend(first, optimizer, range(at))
    piece, weights = stored(pack_state(optimizer)), [param.detach().clone() for param in params_of(first)]

    second, optimizer = built(name)
    with torch.no_grad():
        for param, weight in zip(params_of(second), weights, strict=True):
            param.copy_(weight)
    unpack_state(optimizer, piece)
    descend(second, optimizer, range(at, 12))
    assert all(torch.equal(a, b) for a, b in zip(params_of(whole), params_of(second), strict=True))


def test_what_prodigy_has_found_is_in_its_state():
    own, optimizer = built("prodigy")
    descend(own, optimizer, range(12))
    found = optimizer.param_groups[0]["d"]
    assert found > 1e-4
    _, fresh = built("prodigy")
    unpack_state(fresh, stored(pack_state(optimizer)))
    assert [slot["d"] for slot in fresh.param_groups] == [found, found]
    assert [slot["k"] for slot in fresh.param_groups] == [12, 12]
    assert fresh.param_groups[0]["growth_rate"] == float("inf")
    assert fresh.param_groups[0]["betas"] == (0.85, 0.98)


def test_a_state_of_another_optimizer_is_refused():
    _, adamw = built("adamw")
    _, lion = built("lion")
    with pytest.raises(CheckpointError, match="saved optimizer is 'AdamW', the run's is 'Lion'"):
        unpack_state(lion, pack_state(adamw))


def test_a_state_over_other_groups_is_refused():
    own, optimizer = built("adamw")
    fewer = build_optimizer(CONFIGS["adamw"], own[:1])
    with pytest.raises(CheckpointError, match=r"groups of \[2, 2\] parameters, the run's of \[2\]"):
        unpack_state(fewer, pack_state(optimizer))


def test_schedule_free_averages_are_those_of_its_definition():
    """x is the running mean of the iterates z, weighed by the squared rate: equal weights at a constant rate."""
    own = [ParamGroup("denoiser", [nn.Parameter(torch.zeros(5))], 1e-2)]
    optimizer = build_optimizer(ScheduleFreeConfig(), own)
    iterates = []
    for step in range(6):
        own[0].params[0].grad = torch.randn(5, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        iterates.append(optimizer.state[own[0].params[0]]["z"].clone())
    with ready_to_use(optimizer):
        torch.testing.assert_close(own[0].params[0].detach(), torch.stack(iterates).mean(0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_looking_at_the_result_changes_nothing(name):
    own, optimizer = built(name)
    descend(own, optimizer, range(5))
    before, state = [param.detach().clone() for param in params_of(own)], pack_state(optimizer)
    kept = {key: tensor.clone() for key, tensor in state.tensors.items()}
    with ready_to_use(optimizer):
        moved = [not torch.equal(a, b) for a, b in zip(before, params_of(own), strict=True)]
    assert all(moved) if name == "schedule_free" else not any(moved)
    assert all(torch.equal(a, b) for a, b in zip(before, params_of(own), strict=True))
    again = pack_state(optimizer)
    assert again.values == state.values
    assert all(torch.equal(kept[key], again.tensors[key]) for key in kept)


def test_looking_before_the_first_step_changes_nothing():
    own, optimizer = built("schedule_free")
    with ready_to_use(optimizer):
        pass
    reference, other = built("schedule_free")
    descend(own, optimizer, range(4))
    descend(reference, other, range(4))
    assert all(torch.equal(a, b) for a, b in zip(params_of(own), params_of(reference), strict=True))
