"""What `maquette plan` tells, held against what training has, writes and computes."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.contract import tiny
from tests.learning.small import PROMPT, QUICK, bases, maquette, paint, sets, train
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maquette.adapters import estimate
from maquette.adapters.attach import attach
from maquette.adapters.base import ParamGroup
from maquette.adapters.injected import Injected, inject
from maquette.adapters.lora import peft_lora
from maquette.adapters.targets import select
from maquette.config.load import load_config
from maquette.config.optimization import AdafactorConfig, AdamWConfig, LionConfig, ProdigyConfig, ScheduleFreeConfig
from maquette.config.schema import RunConfig, resolved
from maquette.errors import ConfigError
from maquette.families import packed
from maquette.families.load import load_family
from maquette.families.packed import packing
from maquette.planning.costs import REACHED, Costs, Machine, counting
from maquette.planning.plan import Plan, plan
from maquette.planning.sizes import optimizer_bytes, times
from maquette.planning.starts import StartCosts, start_costs
from maquette.planning.words import words_of
from maquette.training.opening import load_base
from maquette.training.optim import build_optimizer, pack_state
from maquette.training.processes import Processes
from maquette.training.rehearsal import rehearsal
from maquette.training.seeds import rng_at

__all__ = ["bases"]

MIB = 2**20


def planned(photos: Path, base: Path | str, **settings: object) -> Plan:
    given = {**QUICK, "data.prompt": PROMPT, **{key.replace("__", "."): value for key, value in settings.items()}}
    if given.get("adapter.kind") == "full":
        given["adapter.rank"] = None
    flags = {"SOURCE": photos, "--base": base}
    return plan(load_config(flags=flags, sets=sets({k: v for k, v in given.items() if v is not None})), photos / "run")


@pytest.mark.parametrize(
    ("family", "kind", "text"),
    [
        ("sd1", "full", "full"),
        ("sd2-v", "dora", "none"),
        ("sdxl", "lokr", "lora"),
    ],
)
def test_the_groups_are_those_that_training_has(family, kind, text, bases, tmp_path):
    photos = paint(tmp_path / "photos")
    told = planned(photos, bases(family), adapter__kind=kind, text_encoder__train=text, optimizer__lr=0.01)
    settings = [f'adapter.kind="{kind}"', f'text_encoder.train="{text}"', "optimizer.lr=0.01"]
    rank = [] if kind == "full" else ["adapter.rank=2"]
    config = resolved(load_config(flags={"SOURCE": photos}, sets=[*settings, *rank]), pictures=3)
    real = attach(config, load_family(bases(family)), steps=3, weight_decay=0.0, rng=rng_at(0, 0))
    assert [(g.name, g.parameters, g.lr) for g in told.groups] == [
        (g.name, sum(param.numel() for param in g.params), g.lr) for g in real.groups
    ]


def test_a_step_that_the_processes_cannot_share_is_told_before_any_run_starts(tmp_path):
    config = load_config(flags={"SOURCE": paint(tmp_path / "photos"), "--prompt": PROMPT})
    with pytest.raises(ConfigError, match=r"2 cannot share 1 evenly\. Set training\.gradient_accumulation = 2"):
        plan(config, tmp_path / "run", Processes(0, 2))


def test_scores_along_the_way_bring_their_warnings(tmp_path):
    photos = paint(tmp_path / "photos", size=(64, 64))
    told = planned(photos, "maquette-64", data__prompt="a photo of zwx", evaluation__every=1)
    assert [message for message in told.warnings if "Name it: evaluation.class_noun" in message]
    assert [
        message for message in told.warnings if "the judge does not know these words" in message and "object" in message
    ]


def test_the_step_of_a_bank_passes_all_concepts_at_once(bases, tmp_path):
    for name in ("sks", "dog"):
        paint(tmp_path / "photos" / name, (f"{name} one", f"{name} two"))
    pack = {"data__prompt": "a photo of [trigger]", "data__buckets": False, "pack__trigger": "[name]"}
    one = planned(tmp_path / "photos", bases("sd1"), **pack, training__batch_size=2)
    bank = planned(tmp_path / "photos", bases("sd1"), **pack, adapter__kind="lora", adapter__bank=True)
    assert (one.batch, bank.batch, bank.steps_per_pass) == (2, 2, 2.0)
    assert [group.name for group in bank.groups] == ["dog denoiser", "sks denoiser"]
    assert {group.parameters for group in bank.groups} == {one.groups[0].parameters}
    # Two rows through one adapter each, or through the same one: as many products.
    assert bank.teraflop == pytest.approx(one.teraflop)


def test_new_tokens_are_planned_as_they_are_learned(bases, tmp_path):
    photos = paint(tmp_path / "photos")
    told = planned(photos, bases("sdxl"), data__prompt="a TOK dog", tokens__placeholders={"TOK": 2}, training__steps=4)
    # Two rows for each of the encoders, 32 and 40 wide, for the first half of the run.
    assert [(g.parameters, g.halt_at) for g in told.groups[1:]] == [(2 * 32, 2), (2 * 40, 2)]
    [words] = told.captions
    assert (words.pieces, words.trigger) == (("a ", "<s0>", "<s1>", "dog "), (1, 2))


@pytest.mark.parametrize(
    ("name", "modules", "per_rank", "parameters"),
    [("sd1", 128, 199_296, 859_520_964), ("sd2", 128, 207_488, 865_910_724), ("sdxl", 560, 1_451_520, 2_567_463_684)],
)
def test_published_shapes_have_the_published_counts(name, modules, per_rank, parameters):
    from importlib.resources import files

    from maquette.families.parts import blank_unet

    config = json.loads((files("maquette.families") / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    unet = blank_unet(config["unet"], name)
    assert sum(param.numel() for param in unet.parameters()) == parameters
    layers = [unet.get_submodule(path) for path in select(unet, "attention")]
    assert len(layers) == modules
    assert sum(layer.in_features + layer.out_features for layer in layers) == per_rank


def test_a_run_writes_what_was_said(bases, tmp_path):
    photos = paint(tmp_path / "photos", ("one", "two", "three", "four", "five"))
    paint(photos, ("lying",), size=(16, 48))
    settings = {
        "training__steps": 4,
        "checkpoints__every": 2,
        "adapter__rank": 64,
        "training__ema": {"half_life_images": 3.0},
        "data__flip": True,
        "class_images__prompt": "a dog",
        "class_images__count": 3,
        "class_images__steps": 1,
        "data__captions": {"dropout": 0.5},
    }
    told = planned(photos, bases("sd1"), **settings)
    run = train(photos, bases("sd1"), tmp_path / "run" / "dog", **settings)

    def written(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))

    cached = list((run.root / "cache").rglob("*.safetensors"))
    assert told.views + told.captions_kept == len(cached)
    assert told.captions_kept == 3  # the caption, the class's, and the empty one
    for name, folder in (("cache", run.root / "cache"), ("checkpoints", run.checkpoints), ("exports", run.export)):
        assert told.disk[name] == pytest.approx(written(folder), rel=0.2), name
    assert (told.pictures, told.class_images, told.class_images_to_make) == (6, 3, 3)
    assert told.buckets == [((8, 32), 1), ((16, 16), 5)]
    assert told.steps_per_pass == 6


def test_a_start_is_planned_as_it_is_found_and_kept(bases, tmp_path, monkeypatch):
    photos, targets = paint(tmp_path / "photos"), "attention+feed_forward+convolutions"
    settings = {"training__steps": 2, "checkpoints__every": 1, "adapter__rank": 1, "adapter__targets": targets}
    settings |= {"adapter__init": {"kind": "lora_ga", "batches": 4}, "training__gradient_accumulation": 2}
    monkeypatch.setattr("maquette.planning.plan.measured", lambda *_: Machine(1e9, math.inf, 0.0))
    told = planned(photos, bases("sd1"), **settings)

    flops: list[int] = []

    def counted(*args: object) -> object:
        passes = rehearsal(*args)

        def rehearse(batches: int, *, backward: bool) -> float:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it counts no other
                scale = passes(batches, backward=backward)
            flops.append(counter.get_total_flops())
            return scale

        return rehearse

    monkeypatch.setattr("maquette.training.prepare.rehearsal", counted)
    run = train(photos, bases("sd1"), tmp_path / "run" / "dog", **settings)

    def written(folder: Path) -> int:
        files = [load_file(path) for path in folder.rglob("*.safetensors")]
        return sum(tensor.nbytes for tensors in files for tensor in tensors.values())

    assert told.disk["checkpoints"] == pytest.approx(written(run.checkpoints), rel=0.01)
    assert told.disk["exports"] == pytest.approx(written(run.export), rel=0.01)
    held = load_file(run.checkpoints / "step-00000002" / "adapter.safetensors")
    assert told.memory["starting values"] == sum(held[name].nbytes for name in held if ".start_" in name) > 0
    assert told.start == "lora_ga, from the gradient over 4 micro-batches; files have rank 2"
    # Captions and the first layer's input need no gradient, so that three forward passes are a little too many.
    assert told.seconds["starting values"] == pytest.approx(sum(flops) / (REACHED * 1e9), rel=0.35)


def test_starts_that_subtract_nothing_write_nothing_more(bases, tmp_path):
    photos = paint(tmp_path / "photos")
    plain, pissa, eva = (
        planned(photos, bases("sd1"), adapter__init={"kind": kind}) for kind in ("gaussian", "pissa", "eva")
    )
    assert pissa.disk["exports"] == 2 * plain.disk["exports"] == 2 * eva.disk["exports"]
    assert eva.disk == plain.disk
    assert (plain.start, eva.start) == ("", "eva, from the layers' inputs in 64 micro-batches")
    assert pissa.start == "pissa, from the base's weights; files have rank 4"
    found = [each.seconds["starting values"] for each in (plain, pissa, eva)]
    assert found[:2] == [0, 0]
    assert found[2] > 0


def test_what_a_start_sums_up_is_planned_where_it_is_held(monkeypatch):
    """Gradients on a CPU alone, moments of inputs anywhere."""
    model = nn.Sequential(nn.Linear(40, 24), nn.Linear(24, 16))
    layers = inject(model, peft_lora({"0": 2, "1": 2}), {"0": 1.0, "1": 1.0})
    trainable = Injected("denoiser", layers, [])
    cpu, gpu = torch.device("cpu"), torch.device("cuda")

    def costs(kind: str, device: torch.device) -> StartCosts:
        config = RunConfig.model_validate({"adapter": {"kind": "lora", "rank": 2, "init": {"kind": kind}}})
        return start_costs(config, trainable, device)

    gradients, moments = 4 * (40 * 24 + 24 * 16), 4 * (40**2 + 24**2)
    assert [costs(*each).sums for each in (("lora_ga", cpu), ("lora_ga", gpu))] == [gradients, 0]
    assert [costs(*each).sums for each in (("eva", cpu), ("eva", gpu))] == [moments, moments]
    assert (costs("lora_ga", cpu).passes, costs("eva", cpu).passes) == (64 * 3, 64)
    monkeypatch.setattr(estimate, "BYTES", 4 * 40 * 24)  # a layer at a time
    assert (costs("lora_ga", cpu).sums, costs("lora_ga", cpu).passes) == (4 * 40 * 24, 2 * 64 * 3)
    assert (costs("pissa", cpu).sums, costs("gaussian", cpu)) == (0, StartCosts())


def test_planning_reads_no_weights_and_writes_nothing(bases, tmp_path):
    base = tmp_path / "base"
    tiny.save("sd1", base)
    for file in base.rglob("*.safetensors"):
        file.write_bytes(b"no weights")
    photos = paint(tmp_path / "photos")
    before = sorted(tmp_path.rglob("*"))
    assert planned(photos, base).groups[0].parameters > 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("half", "other"), [("prior", "decoder"), ("decoder", "prior")])
def test_a_half_beside_one_that_is_trained_whole_is_held_as_frozen_weights_are(half, other, bases, tmp_path, capsys):
    photos, base, beside = paint(tmp_path / "photos"), bases(f"kandinsky-{half}"), str(bases(f"kandinsky-{other}"))
    settings = {"adapter.kind": "full", "model.precision": "bf16", f"model.{other}": beside, "data.prompt": PROMPT}
    config = load_config(flags={"SOURCE": photos, "--base": base}, sets=sets(settings))
    modules = load_base(config, torch.device("cpu")).modules
    held = {name: next(module.parameters()).dtype for name, module in modules.items() if name != "spread"}
    own = {"denoiser", "vae"} if half == "decoder" else {"denoiser", "text_encoder", "image_encoder"}
    assert held == {name: torch.float32 if name in own else torch.bfloat16 for name in held}
    told = plan(config, tmp_path / "run")
    assert (told.weights, told.beside, told.products) == ("float32", "bfloat16", "bfloat16")
    trained = sum(group.parameters for group in told.groups)
    bits = sum(param.nbytes for module in modules.values() for param in module.parameters())
    assert told.memory["frozen weights"] == bits - 4 * trained
    assert maquette("plan", photos, "--base", base, *(f"--set={each}" for each in sets(settings))) == 0
    assert "weights in float32, the other half's in bfloat16, products in bfloat16" in capsys.readouterr().out


def test_mistakes_are_those_of_training(bases, tmp_path, capsys):
    photos = paint(tmp_path / "photos")
    command = [photos, "--base", bases("sd1"), "--prompt", PROMPT, '--set=adapter.targets=["to_w"]']
    assert [maquette(name, *command, *extra) for name, extra in (("plan", []), ("train", ["--out", tmp_path / "r"]))]
    plan_said, train_said = capsys.readouterr().err.splitlines()[-2:]
    assert plan_said == train_said
    assert "to_w" in plan_said


def test_the_page_can_be_read_in_a_pipe(bases, tmp_path, capsys):
    photos = paint(tmp_path / "photos")
    (photos / "one.txt").write_text("a photo of [trigger] dog " + "on the beach " * 30)
    (photos / "two.txt").write_text("a red [trigger]")
    (photos / "three.txt").write_text("a red [trigger]")
    command = ["plan", photos, "--base", bases("sd1"), '--set=data.trigger="sks"', *(f"--set={s}" for s in sets(QUICK))]
    assert maquette(*command) == 0
    told = capsys.readouterr()
    assert "1 x, 95 tokens: a photo of >sks< dog on the beach" in told.out
    assert told.out.count("[cut: ") == 2  # what it means, and one caption
    assert "2 x, 3 tokens: a red >sks<" in told.out
    assert "\x1b" not in told.out
    assert "Captions are longer than the text encoder reads, of 1 picture" in told.out
    assert maquette(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["name"] == "denoiser"


def test_words_are_the_encoders_pieces():
    words = tiny.tokenizer()
    [cut, plain] = words_of(words, [("dog " * 80, None), ("a sks dog", "sks"), ("a sks dog", "sks")])
    assert (len(cut.pieces), cut.kept, cut.is_cut) == (80, 75, True)
    assert plain == type(plain)("a sks dog", 2, ("a ", "sks ", "dog "), 3, (1,))


@pytest.mark.parametrize(
    "config",
    [AdamWConfig(), ProdigyConfig(), ScheduleFreeConfig(), AdafactorConfig(), LionConfig()],
    ids=lambda config: config.kind,
)
def test_optimizers_remember_as_much_as_was_said(config):
    params = [nn.Parameter(torch.ones(48, 32)), nn.Parameter(torch.ones(200))]
    groups = [ParamGroup("denoiser", params, 0.1)]
    optimizer = build_optimizer(config, groups)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    held = sum(tensor.nbytes for tensor in pack_state(optimizer).tensors.values() if tensor.numel() > 1)
    assert optimizer_bytes(config, groups) == held


def test_costs_are_those_of_the_arithmetic():
    """A linear layer by hand: 2 m n k for each product; and a gradient of every size at the end."""
    layer = nn.Linear(64, 32, bias=False, device="meta")
    x = torch.empty(8, 64, device="meta", requires_grad=True)
    with counting() as costs:
        layer(x).sum().backward()
    assert costs.flops == 3 * 2 * 8 * 64 * 32
    grads = 4 * (8 * 64 + 64 * 32)
    assert grads <= costs.peak <= grads + 4 * 2 * 8 * 32
    assert costs.live <= costs.peak
    assert Machine(1e9, math.inf, 0.0).seconds(costs) == pytest.approx(costs.flops / (REACHED * 1e9))
    assert Machine(math.inf, 1e9, 0.0).seconds(Costs(product_bytes=5e8, other_bytes=5e8)) == 1.0


def test_attention_keeps_no_weights_and_checkpointing_trades_memory_for_time(bases, tmp_path):
    q = torch.empty(1, 2, 512, 16, device="meta", requires_grad=True)
    with counting() as costs:
        torch.nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()
    assert costs.peak < 2 * 512 * 512 * 4  # the weights alone
    assert costs.flops == (2 + 5) * 2 * 2 * 512 * 512 * 16  # two products forward, five backward

    photos = paint(tmp_path / "photos")
    plain = planned(photos, bases("sd1"), training__batch_size=3)
    saving = planned(photos, bases("sd1"), training__batch_size=3, training__gradient_checkpointing=True)
    name = "activations and gradients"
    assert saving.memory[name] < 0.8 * plain.memory[name]
    assert saving.teraflop > 1.15 * plain.teraflop
    held = planned(photos, bases("sd1"), training__batch_size=3, data__trigger="sks", preservation__class_prompt="dog")
    # Forward once, then forward and backward of twice the rows.
    assert 2.2 * plain.teraflop < held.teraflop < 2.6 * plain.teraflop


def test_weights_are_planned_as_they_are_packed(bases, tmp_path, monkeypatch):
    photos, name = paint(tmp_path / "photos"), "frozen weights, packed"
    assert planned(photos, bases("sd1")).memory[name] == 0
    monkeypatch.setattr(packed, "CHANNELS", 1)
    monkeypatch.setattr(packed, "PRECISIONS", (torch.float32,))
    told = planned(photos, bases("sd1"))
    assert planned(photos, bases("sd1"), training__gradient_checkpointing=True).memory[name] == 0
    assert planned(photos, bases("sd1"), adapter__kind="full").memory[name] == 0

    # Against what a pass over the real weights holds of them.
    family = load_family(bases("sd1"))
    unet = family.modules["denoiser"].requires_grad_(requires_grad=False)
    context = family.embed_text(family.tokenize([PROMPT]))["context"].detach().requires_grad_()
    kept: list[torch.Tensor] = []
    reorder = packed.reordered
    monkeypatch.setattr(packed, "reordered", lambda weight: kept.append(weight) or reorder(weight))
    with packing(unet, torch.float32)():
        family.predict(torch.randn(1, 4, 8, 8).requires_grad_(), torch.ones(1), {"context": context}).sum().backward()
    assert told.memory[name] == sum(weight.nbytes for weight in kept) > 0


@pytest.mark.parametrize(("every", "steps", "count"), [(0, 5, 0), (2, 4, 3), (2, 5, 4), (10, 5, 2)])
def test_what_is_due_is_counted_at_both_ends(every, steps, count):
    assert times(every, steps) == count


def test_the_activations_are_those_that_training_keeps():
    """Against autograd's own count on a real model, where everything that is kept has been allocated on the way."""
    family = tiny.sd1()
    context = family.embed_text(family.tokenize([PROMPT]))["context"].detach()
    kept: dict[int, torch.Tensor] = {}
    own = {param.untyped_storage().data_ptr() for param in family.unet.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = family.predict(torch.randn(2, 4, 8, 8), torch.ones(2), {"context": context.repeat(2, 1, 1)}).sum()
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del loss
    family.unet.to("meta")
    x, t = torch.empty(2, 4, 8, 8, device="meta"), torch.empty(2, device="meta")
    with counting() as costs:
        loss = family.predict(x, t, {"context": context.repeat(2, 1, 1).to("meta")}).sum()
    assert loss.is_meta
    assert costs.live == pytest.approx(real, rel=0.15)
