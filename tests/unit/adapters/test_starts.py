"""Starts from gradients, weights and inputs: against exact decompositions, autograd on an untouched base, and peft."""

import copy
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig as PeftLora
from peft import inject_adapter_in_model
from safetensors import safe_open
from tests.unit.adapters import small
from torch import nn

from maquette.adapters import estimate
from maquette.adapters.about import About
from maquette.adapters.aside import aside
from maquette.adapters.attach import attach, layer_ranks
from maquette.adapters.beside import factors
from maquette.adapters.export import export_both
from maquette.adapters.injected import inject
from maquette.adapters.keys import layout_of
from maquette.adapters.lora import peft_lora
from maquette.adapters.read import read_adapter
from maquette.adapters.starts import leading, start, start_from_gradient
from maquette.adapters.targets import leaves
from maquette.adapters.worn import Worn, fuse, worn
from maquette.config.factors import LoraGaConfig
from maquette.config.schema import RunConfig
from maquette.errors import ConfigError, ModelError

EVERYTHING = "attention+feed_forward+convolutions"
AWAY = {
    "lora_ga": {"kind": "lora", "rank": 2, "lora_alpha": 4.0, "init": {"kind": "lora_ga", "batches": 3}},
    "pissa": {"kind": "lora", "rank": 3, "lora_alpha": 1.5, "init": {"kind": "pissa"}},
    "olora": {"kind": "lora", "rank": 3, "init": {"kind": "olora"}},
    "eva": {"kind": "lora", "rank": 2, "init": {"kind": "eva", "batches": 3}},
}


def loss(models, i):
    """As different for each batch as real losses are."""
    out = small.forward(models)
    target = torch.randn(out.shape, generator=torch.Generator().manual_seed(i))
    return (out.float() - target).square().mean()


def passes(models):
    def rehearse(batches, *, backward):
        for i in range(batches):
            with torch.set_grad_enabled(backward):
                value = loss(models, i)
                if backward:
                    value.backward()
        return 1.0

    return rehearse


def frozen(kind="sd1", dtype=torch.float32):
    models = small.models(kind)
    for module in models.modules.values():
        module.to(dtype).requires_grad_(False)
    return models


def begun(name, kind="sd1", *, text="none", models=None, **changes):
    """A model with an adapter that has started, and what was told of it."""
    models = models or frozen(kind)
    adapter = {**AWAY[name], "targets": EVERYTHING, **changes}
    config = RunConfig.model_validate({"adapter": adapter, "text_encoder": {"train": text}})
    trainable = attach(config, models, steps=10, weight_decay=0.0, rng=torch.Generator().manual_seed(0))
    told = start(trainable, config.adapter.init, passes(models), torch.Generator().manual_seed(1))
    for group in trainable.groups:
        for param in group.params:
            assert param.grad is None
    return models, trainable, told


def moved(trainable, size=0.05):
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for group in trainable.groups:
            for param in group.params:
                param.add_(size * torch.randn(param.shape, generator=rng))


def gradients(kind="sd1", batches=3):
    """The mean gradient by every weight of an untouched base, by autograd over all of it."""
    models = small.models(kind)
    (sum(loss(models, i) for i in range(batches)) / batches).backward()
    return {f"{m}.{path}": w.weight.grad for m, module in models.modules.items() for path, w in leaves(module).items()}


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_it_starts_as_the_base_whose_weights_stay_as_they_were(name, kind):
    before = frozen(kind)
    models, trainable, _ = begun(name, kind, text="lora")
    torch.testing.assert_close(small.forward(models).detach(), small.forward(before), rtol=1e-4, atol=1e-5)
    for part in models.modules:
        kept, now = (leaves(one.modules[part]) for one in (before, models))
        assert all(torch.equal(layer.weight, now[path].weight) for path, layer in kept.items())
        assert not any(layer.weight.requires_grad for layer in now.values())
    with aside(trainable):
        assert torch.equal(small.forward(models), small.forward(before))


def test_a_base_in_half_precision_loses_nothing_either():
    """Others subtract the start from the base, and round it: 0.4 % of every weight."""
    base = frozen(dtype=torch.bfloat16)
    models, trainable, _ = begun("lora_ga", models=copy.deepcopy(base))
    assert {p.dtype for group in trainable.groups for p in group.params} == {torch.float32}
    assert torch.equal(
        leaves(models.modules["denoiser"])["mid_block.attentions.0.proj_in"].weight,
        leaves(base.modules["denoiser"])["mid_block.attentions.0.proj_in"].weight,
    )
    torch.testing.assert_close(small.forward(models).detach(), small.forward(base), rtol=0.02, atol=0.02)


def test_the_first_step_is_the_best_approximation_of_the_gradient_of_twice_the_rank():
    """A and B move by their gradients; the product's first-order change is the truncated gradient but for its size."""
    models, trainable, told = begun("lora_ga")
    expected = gradients()
    loss_of_all = sum(loss(models, i) for i in range(3)) / 3
    loss_of_all.backward()
    scale = 2.0  # lora_alpha / rank
    for path, layer in trainable.layers.items():
        G = expected[f"denoiser.{path}"].flatten(1).double()
        down, up = (factor.flatten(1).double() for factor in factors(layer, "default"))
        grad_down, grad_up = (factor.grad.flatten(1).double() for factor in factors(layer, "default"))
        change = scale * (grad_up @ down + up @ grad_down)
        U, S, Vh = torch.linalg.svd(G, full_matrices=False)
        best = (U[:, :4] * S[:4]) @ Vh[:4]
        size = scale**2 * math.sqrt(G.shape[0]) / 16
        torch.testing.assert_close(change, size * best, rtol=1e-3, atol=1e-4 * float(size * S[0]))
        assert told.layers[f"denoiser.{path}"].energy == pytest.approx(
            float(S[:4].square().sum() / S.square().sum()), rel=1e-3
        )
        assert told.layers[f"denoiser.{path}"].norm == pytest.approx(float(G.norm()), rel=1e-3)
        torch.testing.assert_close(up @ down @ down.T, up * math.sqrt(G.shape[0]) / 16, rtol=1e-4, atol=1e-6)


def linear(rows, columns, rank):
    layer = inject(nn.Sequential(nn.Linear(columns, rows)), peft_lora({"0": rank}), {"0": 1.0})["0"]
    gradient = torch.randn(rows, columns, generator=torch.Generator().manual_seed(2))
    start_from_gradient(LoraGaConfig(), layer, gradient, torch.Generator().manual_seed(0))
    return gradient, *(factor.detach() for factor in factors(layer, "default"))


@pytest.mark.parametrize(
    ("rows", "size", "product"),
    [
        (320, 1.057371, 1.118034),
        (640, 1.257433, 1.581139),
        (1024, 1.414214, 2.0),
        (1280, 1.495349, 2.236068),
        (2048, 1.681793, 2.828427),
    ],
)
def test_the_scale_is_the_published_one(rows, size, product):
    rank = 4
    _, down, up = linear(rows, 24, rank)
    torch.testing.assert_close(down.norm(dim=1), torch.full((rank,), size), rtol=1e-5, atol=0)
    torch.testing.assert_close(up.norm(dim=0), torch.full((rank,), size), rtol=1e-5, atol=0)
    assert float((up @ down).norm()) / math.sqrt(rank) == pytest.approx(product, rel=1e-5)


def test_down_has_the_first_directions_and_up_the_next():
    gradient, down, up = linear(40, 24, 3)
    U, _, Vh = torch.linalg.svd(gradient)
    size = math.sqrt(40) / 16
    torch.testing.assert_close(down.T @ down / size, Vh[:3].T @ Vh[:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(up @ up.T / size, U[:, 3:6] @ U[:, 3:6].T, rtol=1e-4, atol=1e-5)


def left_over(gradient, down, up):
    """What a step on both factors misses of the gradient, squared; both orthonormal."""
    gradient, down, up = gradient.double(), down.double(), up.double()
    return float((up @ up.T @ gradient + gradient @ down.T @ down - gradient).square().sum())


def test_no_other_directions_hold_as_much_of_the_gradient():
    """All ways to give 2 directions of 7 to A and 2 others to B: what is left is least with the first four, and then
    the sum of the squares of the singular values after them."""
    gradient, down, up = linear(9, 7, 2)
    U, S, Vh = torch.linalg.svd(gradient)
    size = (math.sqrt(9) / 16) ** 0.5
    least = float(S[4:].double().square().sum())
    assert left_over(gradient, down / size, up / size) == pytest.approx(least, rel=1e-5)
    for four in itertools.combinations(range(7), 4):
        found = [
            left_over(gradient, Vh[list(two)], U[:, [i for i in four if i not in two]])
            for two in itertools.combinations(four, 2)
        ]
        others = float(S.double().square().sum() - S[list(four)].double().square().sum())
        assert found == pytest.approx([others] * len(found), rel=1e-4)
        assert four == (0, 1, 2, 3) or min(found) > 1.01 * least


def test_large_matrices_are_probed_as_well_as_decomposed():
    rng = torch.Generator().manual_seed(0)
    U, V = (torch.linalg.qr(torch.randn(n, n, generator=rng)).Q for n in (200, 120))
    spectrum = 0.8 ** torch.arange(120)
    matrix = U[:, :120] * spectrum @ V.T
    left, values, right = leading(matrix, 8, rng)
    torch.testing.assert_close(values, spectrum[:8], rtol=1e-4, atol=0)
    torch.testing.assert_close(left @ left.T, U[:, :8] @ U[:, :8].T, rtol=0, atol=2e-3)
    torch.testing.assert_close(right.T @ right, V[:, :8] @ V[:, :8].T, rtol=0, atol=2e-3)


def test_gradients_are_the_same_in_one_sweep_and_in_many(monkeypatch):
    models = frozen()
    weights = {path: layer.weight for path, layer in leaves(models.modules["denoiser"]).items() if "attn2" in path}
    once = dict(estimate.mean_gradients(weights, passes(models), 3))
    monkeypatch.setattr(estimate, "BYTES", 1000)
    assert len(list(estimate.sweeps({name: w.numel() for name, w in weights.items()}))) > 3
    many = dict(estimate.mean_gradients(weights, passes(models), 3))
    expected = gradients()
    assert once.keys() == many.keys() == weights.keys()
    for path, gradient in once.items():
        torch.testing.assert_close(gradient, many[path], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradient, expected[f"denoiser.{path}"], rtol=1e-4, atol=1e-6)
        assert weights[path].grad is None
        assert not weights[path].requires_grad


@pytest.mark.parametrize("init", ["lora_ga", "pissa", "olora", "eva"])
def test_a_layer_that_is_too_narrow_is_named_before_anything_is_computed(init):
    rank = {"lora_ga": 5}.get(init, 17)
    config = RunConfig.model_validate({"adapter": {"kind": "lora", "rank": rank, "init": {"kind": init}}})
    with pytest.raises(ConfigError, match=r"rank is too high for \d+ layers: .*to_q.*adapter\.rank_pattern"):
        layer_ranks(config.adapter, small.unet("sd1"))


def test_narrow_layers_may_start_at_random_with_a_warning():
    _, trainable, told = begun("lora_ga", rank=5, init=AWAY["lora_ga"]["init"] | {"narrow": "gaussian"})
    narrow = {
        f"denoiser.{p}"
        for p, layer in trainable.layers.items()
        if min(layer.get_base_layer().weight.flatten(1).shape) < 10
    }
    assert 0 < len(narrow) < len(trainable.layers)
    assert told.layers.keys() == {f"denoiser.{path}" for path in trainable.layers} - narrow
    assert f"{len(narrow)} layers start as gaussian, because they are narrower" in told.warnings[0]
    assert all(
        not factors(layer, "default")[1].any() for p, layer in trainable.layers.items() if f"denoiser.{p}" in narrow
    )


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_starts_from_weights_are_those_of_peft(init):
    models, trainable, told = begun(init)
    other = frozen().modules["denoiser"]
    linears = [
        path for path, layer in leaves(other).items() if path in trainable.layers and isinstance(layer, nn.Linear)
    ]
    alpha = AWAY[init].get("lora_alpha", 3.0)
    inject_adapter_in_model(PeftLora(r=3, lora_alpha=alpha, target_modules=linears, init_lora_weights=init), other)
    for path in linears:
        theirs = other.get_submodule(path)
        down, up = factors(trainable.layers[path], "default")
        product = theirs.lora_B["default"].weight @ theirs.lora_A["default"].weight
        torch.testing.assert_close(up @ down, product, rtol=1e-4, atol=1e-5)
        assert 0 < told.layers[f"denoiser.{path}"].energy < 1
    torch.testing.assert_close(small.forward(models).detach(), small.forward(frozen()), rtol=1e-4, atol=1e-5)
    convolutions = [path for path in trainable.layers if path not in linears]
    assert f"{len(convolutions)} layers start as gaussian, because they are convolutions" in told.warnings[0]
    assert all(not factors(trainable.layers[path], "default")[1].any() for path in convolutions)


def test_eva_takes_the_directions_in_which_inputs_vary_most():
    _, trainable, told = begun("eva")
    base, seen = frozen(), {}
    for path, layer in leaves(base.modules["denoiser"]).items():
        if path in trainable.layers and isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(
                lambda _, x, path=path: seen.setdefault(path, []).append(x[0].flatten(0, -2))
            )
    passes(base)(3, backward=False)
    assert seen.keys() == {name.removeprefix("denoiser.") for name in told.layers}
    for path, rows in seen.items():
        _, S, _ = torch.linalg.svd(torch.cat(rows).double(), full_matrices=False)
        down, up = factors(trainable.layers[path], "default")
        torch.testing.assert_close(down @ down.T, torch.eye(2), rtol=0, atol=1e-4)
        held = (torch.cat(rows).double() @ down.T.double()).square().sum() / S.square().sum()
        best = float(S[:2].square().sum() / S.square().sum())
        assert float(held.detach()) == pytest.approx(best, abs=1e-4)
        assert told.layers[f"denoiser.{path}"].energy == pytest.approx(best, abs=1e-4)
        assert not up.any()


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_files_hold_the_change_alone_and_need_no_other_base(name, kind, tmp_path: Path):
    models, trainable, _ = begun(name, kind, text="lora")
    moved(trainable)
    trained, base = small.forward(models).detach(), frozen(kind)
    layout = layout_of(base.modules)
    for dialect, path in export_both(tmp_path, small.updates(trainable), layout, About(title="dog")).items():
        read = read_adapter(path, layout)
        with worn(base.modules, [Worn(read.delta)]), torch.no_grad():
            found = small.forward(base)
        if dialect == "kohya":
            assert torch.equal(found, trained)
        else:
            torch.testing.assert_close(found, trained, rtol=1e-4, atol=1e-5)
    fuse(base.modules, [Worn(small.updates(trainable))])
    torch.testing.assert_close(small.forward(base), trained, rtol=1e-3, atol=1e-4)


def test_the_file_of_a_displaced_start_has_twice_the_rank_at_the_same_scale(tmp_path: Path):
    _, trainable, _ = begun("lora_ga")
    paths = export_both(tmp_path, small.updates(trainable), layout_of(small.models().modules), About(title="dog"))
    with safe_open(paths["kohya"], "pt") as file:
        ranks = {file.get_tensor(key).shape[0] for key in file.keys() if "lora_down" in key}  # noqa: SIM118
        alphas = {float(file.get_tensor(key)) for key in file.keys() if key.endswith(".alpha")}  # noqa: SIM118
    assert (ranks, alphas) == ({4}, {8.0})
    with safe_open(paths["diffusers"], "pt") as file:
        told = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (told["unet.r"], told["unet.lora_alpha"]) == (4, 4)


@pytest.mark.parametrize("name", AWAY)
def test_a_checkpoint_brings_the_start_along(name):
    models, trainable, _ = begun(name)
    moved(trainable)
    again = frozen()
    config = RunConfig.model_validate({"adapter": {**AWAY[name], "targets": EVERYTHING}})
    fresh = attach(config, again, steps=10, weight_decay=0.0, rng=torch.Generator().manual_seed(9))
    fresh.load_state_dict(trainable.state_dict())
    assert torch.equal(small.forward(again), small.forward(models))


@pytest.mark.parametrize("name", ["lora_ga", "pissa"])
def test_dropout_never_acts_on_the_base(name):
    """Both products see the same thinned input, so that at the start there is nothing to drop."""
    models, trainable, _ = begun(name, dropout=0.5)
    with trainable.routing(torch.zeros(2, dtype=torch.long)):
        torch.testing.assert_close(small.forward(models).detach(), small.forward(frozen()), rtol=1e-4, atol=1e-5)
        moved(trainable)
        one, other = small.forward(models), small.forward(models)
    assert not torch.equal(one, other)


def test_what_is_not_finite_is_told_with_the_layer():
    models = frozen()
    with torch.no_grad():
        models.modules["denoiser"].conv_in.weight.fill_(math.nan)
    with pytest.raises(ModelError, match=r"what denoiser\..* should start from is not finite"):
        begun("lora_ga", models=models)


def test_starts_at_random_need_no_pass():
    models = frozen()
    trainable = attach(RunConfig(), models, steps=1, weight_decay=0.0, rng=torch.Generator().manual_seed(0))
    told = start(trainable, RunConfig().adapter.init, lambda *_, **__: pytest.fail("asked"), torch.Generator())
    assert (dict(told.layers), list(told.warnings)) == ({}, [])
