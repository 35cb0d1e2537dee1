"""What every kind of adapter promises, whatever it is."""

import copy
import re

import pytest
import torch
from tests.unit.adapters import small

from maquette.adapters.about import About
from maquette.adapters.attach import attach
from maquette.adapters.base import Trainable
from maquette.adapters.combined import Combined
from maquette.adapters.export import export_both
from maquette.adapters.keys import layout_of
from maquette.adapters.read import read_adapter
from maquette.adapters.worn import Worn, fuse, worn
from maquette.config.schema import RunConfig
from maquette.errors import CheckpointError

EVERYTHING = "attention+feed_forward+convolutions"
KINDS = {
    "lora": {"kind": "lora", "rank": 4},
    "lora, alpha half the rank": {"kind": "lora", "rank": 32, "lora_alpha": 16.0, "targets": EVERYTHING},
    "lora, alpha a third": {"kind": "lora", "rank": 3, "lora_alpha": 1.0, "init": {"kind": "kaiming"}},
    "rslora": {"kind": "lora", "rank": 5, "rslora": True, "targets": EVERYTHING},
    "lora, several ranks": {"kind": "lora", "rank": 4, "lora_alpha": 2.0, "rank_pattern": {"attn2": 3, "mid_block": 7}},
    "dora": {"kind": "dora", "rank": 4, "lora_alpha": 8.0, "targets": EVERYTHING},
    "loha": {"kind": "loha", "rank": 3, "lora_alpha": 2.0, "targets": EVERYTHING},
    "lokr": {"kind": "lokr", "rank": 1, "lora_alpha": 2.0, "targets": EVERYTHING},
    "lokr, both factors low": {"kind": "lokr", "rank": 1, "decompose_both": True, "factor": 4},
    "lokr, both factors whole": {"kind": "lokr", "rank": 64, "lora_alpha": 16.0, "targets": EVERYTHING},
}
SD1_KINDS = [("sd1", name) for name in KINDS]
SOME_SDXL = [("sdxl", name) for name in ("lora, alpha a third", "dora", "lokr")]
# Where only the kind counts, and neither ranks, scales nor shapes.
ONE_OF_EACH = ("lora, several ranks", "dora", "loha", "lokr", "full")
full = {"kind": "full"}


def fresh(family, adapter, *, seed=0, text="lora", **sections):
    config = RunConfig.model_validate({"adapter": adapter, "text_encoder": {"train": text}, **sections})
    return attach(config, family, steps=10, weight_decay=0.01, rng=torch.Generator().manual_seed(seed))


@pytest.fixture(params=ONE_OF_EACH)
def adapter(request):
    return KINDS.get(request.param, full)


@pytest.fixture(params=[*SD1_KINDS, *SOME_SDXL], ids=lambda p: f"{p[0]}, {p[1]}")
def small_and_kind(request):
    return small.models(request.param[0]), KINDS[request.param[1]]


def text_of(adapter):
    return "full" if adapter is full else "lora"


def test_it_starts_as_the_base(adapter):
    models = small.models()
    for module in models.modules.values():
        module.requires_grad_(False)  # torch rounds otherwise for weights that want a gradient
    before = small.forward(models)
    trainable = fresh(models, adapter, text=text_of(adapter))
    assert isinstance(trainable, Trainable)
    # DoRA divides every row by its length and multiplies it back: one rounding a layer
    torch.testing.assert_close(small.forward(models).detach(), before, rtol=1e-5, atol=1e-6)


def test_it_starts_from_the_seed_alone(adapter):
    states = []
    for seed, disturbance in ((0, 1), (0, 2), (5, 1)):
        torch.manual_seed(disturbance)
        models = small.models()
        torch.manual_seed(disturbance)
        states.append(fresh(models, adapter, seed=seed, text=text_of(adapter)).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    if adapter is not full:
        assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_trains_in_fp32_and_nothing_else_moves(adapter, dtype):
    models = small.models()
    for module in models.modules.values():
        module.to(dtype)
    trainable = fresh(models, adapter, text=text_of(adapter))
    params = [param for group in trainable.groups for param in group.params]
    assert {param.dtype for param in params} == {torch.float32}
    assert {id(p) for p in params} == {
        id(p) for m in models.modules.values() for p in m.parameters() if p.requires_grad
    }
    others = [(p, p.detach().clone()) for m in models.modules.values() for p in m.parameters() if not p.requires_grad]
    state = {name: value.clone() for name, value in trainable.state_dict().items()}
    optimizer = torch.optim.AdamW(params, lr=1e-3)
    for _ in range(2):
        with trainable.routing(torch.zeros(2, dtype=torch.long)):
            small.forward(models).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(param, value) for param, value in others)
    moved = [name for name, value in trainable.state_dict().items() if not torch.equal(value, state[name])]
    # every factor of every layer has had a gradient by the second step
    assert len(moved) >= (len(state) if adapter is not full else len(state) - 2)


def test_its_state_comes_back_whole_or_not_at_all(adapter):
    models = small.models()
    trainable = small.trained(models, adapter, text=text_of(adapter))
    state = {name: value.clone() for name, value in trainable.state_dict().items()}
    other = small.models()
    again = fresh(other, adapter, seed=9, text=text_of(adapter))
    again.load_state_dict(state)
    assert torch.equal(small.forward(other), small.forward(models))
    first, *_, last = sorted(state)
    with pytest.raises(CheckpointError, match=re.escape(f"{first} is missing")):
        again.load_state_dict({name: value for name, value in state.items() if name != first})
    with pytest.raises(CheckpointError, match=r"denoiser\.nowhere"):
        again.load_state_dict(state | {"denoiser.nowhere": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="has shape"):
        again.load_state_dict(state | {last: torch.zeros(1, 2, 3)})


def test_training_goes_on_from_a_saved_state_bit_for_bit(adapter):
    def run(steps, start=None):
        models = small.models()
        trainable = fresh(models, adapter, text=text_of(adapter))
        optimizer = torch.optim.AdamW([p for group in trainable.groups for p in group.params], lr=1e-2)
        if start is not None:
            trainable.load_state_dict(start[0])
            optimizer.load_state_dict(start[1])
        for _ in range(steps):
            with trainable.routing(torch.zeros(2, dtype=torch.long)):
                small.forward(models).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return copy.deepcopy((trainable.state_dict(), optimizer.state_dict()))

    straight, parted = run(3)[0], run(1, start=run(2))[0]
    assert all(torch.equal(value, parted[name]) for name, value in straight.items())


def test_files_hold_what_was_trained(small_and_kind, tmp_path):
    models, adapter = small_and_kind
    base = copy.deepcopy(models)
    trainable = small.trained(models, adapter)
    trained = small.forward(models).detach()
    paths = export_both(tmp_path, small.updates(trainable), layout_of(models.modules), About(title="dog"))
    assert set(paths) == ({"kohya", "diffusers"} if adapter["kind"] in ("lora", "dora") else {"kohya"})
    layout = layout_of(base.modules)
    for dialect, path in paths.items():
        read = read_adapter(path, layout)
        with worn(base.modules, [Worn(read.delta)]), torch.no_grad():
            found = small.forward(base)
        if dialect == "kohya" and adapter is not KINDS["lokr, both factors whole"]:
            assert torch.equal(found, trained)  # through the same layers, from the same numbers
        else:  # the scale was multiplied into a factor
            torch.testing.assert_close(found, trained, rtol=1e-4, atol=1e-5)


def test_fused_computes_what_the_layers_compute(small_and_kind):
    models, adapter = small_and_kind
    base = copy.deepcopy(models)
    trainable = small.trained(models, adapter)
    trained = small.forward(models).detach()
    before = small.forward(base).detach()
    fuse(base.modules, [Worn(small.updates(trainable))])
    assert (small.forward(base) - before).abs().max() > 1e-3
    torch.testing.assert_close(small.forward(base).detach(), trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["rslora", "dora", "loha", "lokr"])
def test_fp16_files_hold_it_to_their_precision(kind, tmp_path):
    models = small.models()
    base, layout = copy.deepcopy(models), layout_of(models.modules)
    delta = small.updates(small.trained(models, KINDS[kind]))
    trained = small.forward(models).detach()
    for path in export_both(tmp_path, delta, layout, About(title="dog"), precision="fp16").values():
        with worn(base.modules, [Worn(read_adapter(path, layout).delta)]), torch.no_grad():
            # 2^-11 of each factor, through some 30 layers
            torch.testing.assert_close(small.forward(base), trained, rtol=0.02, atol=0.02)


def test_groups_say_what_the_configuration_says(adapter):
    models = small.models()
    trainable = fresh(
        models,
        adapter,
        text="none",
        text_encoder={"train": text_of(adapter), "lr": 3e-5, "stop": 0.25},
        optimizer={"kind": "adamw", "lr": 2e-4},
    )
    denoiser, text = trainable.groups
    assert (denoiser.name, denoiser.lr, denoiser.weight_decay, denoiser.halt_at) == ("denoiser", 2e-4, 0.01, None)
    assert (text.name, text.lr, text.weight_decay, text.halt_at) == ("text_encoder", 3e-5, 0.01, 2)
    assert (denoiser.clip, text.clip) == ("run", "run")
    assert trainable.touches == {"denoiser", "text_encoder"}
    alone = fresh(small.models(), adapter, text="none")
    assert not isinstance(alone, Combined)
    assert alone.touches == {"denoiser"}


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr"])
def test_dropout_acts_in_training_passes_alone(kind):
    models = small.models()
    adapter = {"kind": kind, "rank": 4, "dropout": 0.5}
    trainable = small.trained(models, adapter)
    reference = small.models()
    undropped = small.trained(reference, adapter | {"dropout": 0.0})
    undropped.load_state_dict(trainable.state_dict())
    assert torch.equal(small.forward(models), small.forward(reference))
    passes = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        with trainable.routing(torch.zeros(2, dtype=torch.long)):
            passes.append(small.forward(models).detach())
    assert torch.equal(passes[0], passes[2])
    assert not torch.equal(passes[0], passes[1])
    assert torch.equal(small.forward(models), small.forward(reference))
