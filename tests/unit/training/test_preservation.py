"""Output preservation: the loss by hand, the base from the same modules, and the words that it is asked with."""

from dataclasses import dataclass, replace

import pytest
import torch
from tests.contract import tiny
from tests.unit.adapters import small
from torch import Tensor

from maquette.adapters.aside import aside
from maquette.adapters.attach import attach
from maquette.config.schema import RunConfig
from maquette.data.caption import as_class
from maquette.data.texts import classes_of
from maquette.diffusion import weighting
from maquette.diffusion.level import expand_as
from maquette.diffusion.scheduler import Diffusion
from maquette.families.base import Family
from maquette.training.objective import Preservation, denoising, stratified
from maquette.training.seeds import rng_at
from maquette.types import ImageCode, TrainBatch, Words

SAID, PLAIN = ["a photo of sks dog", "sks on the beach"], ["a dog", "a dog"]


@dataclass
class Asked:
    """As much of a family as the objective reads; it notes how many rows it was asked for."""

    family: Family
    rows: list[int]

    @property
    def diffusion(self) -> Diffusion:
        return self.family.diffusion

    def embed_text(self, tokens):
        return self.family.embed_text(tokens)

    def predict(self, x: Tensor, t: Tensor, cond) -> Tensor:
        self.rows.append(len(x))
        return self.family.predict(x, t, cond)


def taught(adapter, text="none", kind="sd1"):
    family = tiny.RECIPES[kind]()
    return Asked(family, []), small.trained(family, adapter, text)


def embedded(family, texts):
    return {name: value.detach() for name, value in family.embed_text(family.tokenize(texts)).items()}


def batch(family, *, tokens: bool, mask=None) -> TrainBatch:
    rng = torch.Generator().manual_seed(1)
    geometry = torch.tensor([[16, 16, 0, 0, 16, 16], [24, 16, 4, 0, 16, 16]])
    code = family.encode_images(torch.rand(2, 3, 16, 16, generator=rng), geometry)
    mean = torch.randn(code.mean.shape, generator=rng)
    words = Words({}, family.tokenize(PLAIN)) if tokens else Words(embedded(family, PLAIN), {})
    cond = {name: value.detach() for name, value in code.cond.items()}
    known = {} if tokens else embedded(family, SAID)
    return TrainBatch(
        ImageCode(mean, None, {**cond, **known}),
        family.tokenize(SAID) if tokens else {},
        torch.ones(2) / 2,
        torch.zeros(2).long(),
        mask,
        words,
    )


LORA = {"kind": "lora", "rank": 3}


@pytest.mark.parametrize("kind", ["sd1", "sd2-v", "sdxl"])
@pytest.mark.parametrize("text", ["none", "lora"])
def test_the_loss_is_the_subjects_and_the_difference_to_the_base(kind, text):
    asked, trainable = taught(LORA, text, kind)
    family = asked.family
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    one = batch(family, tokens=text == "lora", mask=mask)
    weigh, preservation = weighting.min_snr(5.0), Preservation(0.5, lambda: aside(trainable))
    found = denoising(asked, weigh, preservation=preservation)(one, rng_at(0, 0))
    alone = denoising(asked, weigh)(one, rng_at(0, 0))
    assert asked.rows == [2, 4, 2]  # the base, the model with both texts at once, and the model alone

    rng = rng_at(0, 0)
    level = family.diffusion.path(stratified(2, rng))
    affine = family.diffusion.parametrization(level)
    x_t = expand_as(affine.c_in, one.code.mean) * level.noised(
        one.code.mean, torch.randn(one.code.mean.shape, generator=rng)
    )
    base = tiny.RECIPES[kind]()
    ours = family.predict(x_t, level.t, {**one.code.cond, **embedded(family, PLAIN)})
    theirs = base.predict(x_t, level.t, {**one.code.cond, **embedded(base, PLAIN)})
    drift = weigh(level, affine) * (ours - theirs).square().mean((1, 2, 3))
    assert float(drift.detach().min()) > 1e-5
    torch.testing.assert_close(found, alone + 0.5 * drift, rtol=1e-4, atol=1e-6)


def test_the_base_learns_nothing_and_the_model_is_pulled_to_it():
    asked, trainable = taught(LORA)
    one = batch(asked.family, tokens=False)
    objective = denoising(asked, weighting.uniform, preservation=Preservation(1.0, lambda: aside(trainable)))
    params = [param for group in trainable.groups for param in group.params]
    optimizer = torch.optim.AdamW(params, lr=3e-3)

    def drift():
        with torch.no_grad():
            both = [objective(b, rng_at(0, 0)).sum() for b in (one, replace(one, class_words=None))]
            return float(both[0] - both[1])

    before = drift()
    for step in range(12):
        (objective(one, rng_at(1, step)) - objective(replace(one, class_words=None), rng_at(1, step))).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert drift() < 0.5 * before
    assert {id(p) for p in params} == {
        id(p) for m in asked.family.modules.values() for p in m.parameters() if p.requires_grad
    }


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr"])
def test_every_adapter_can_stand_aside(kind):
    models = small.models()
    trainable = small.trained(models, {"kind": kind, "rank": 3})
    wanting = [param.requires_grad for module in models.modules.values() for param in module.parameters()]
    adapted, base = small.forward(models), small.models()
    for module in base.modules.values():
        module.requires_grad_(False)
    with aside(trainable):
        assert torch.equal(small.forward(models), small.forward(base))
    assert torch.equal(small.forward(models), adapted)
    assert wanting == [param.requires_grad for module in models.modules.values() for param in module.parameters()]


def test_at_the_start_there_is_nothing_to_preserve():
    family = tiny.RECIPES["sdxl"]()
    trainable = attach(RunConfig(), family, steps=1, weight_decay=0.0, rng=torch.Generator().manual_seed(0))
    one = batch(family, tokens=False)
    kept = denoising(family, weighting.uniform, preservation=Preservation(9.0, lambda: aside(trainable)))
    torch.testing.assert_close(kept(one, rng_at(0, 0)), denoising(family, weighting.uniform)(one, rng_at(0, 0)))


@pytest.mark.parametrize(
    ("caption", "trigger", "expected"),
    [
        ("a photo of sks dog on the beach", "sks dog", "a photo of dog on the beach"),
        ("A photo of SKS, red", "sks", "A photo of dog, red"),
        ("sksual things", "sks", "dog"),
        ("a photo of sks dog", None, "dog"),
        ("", "sks", ""),
    ],
)
def test_the_class_stands_where_the_trigger_was(caption, trigger, expected):
    assert as_class(caption, trigger, "dog") == expected


def test_each_concept_has_its_own_class():
    concepts = [{"folder": "a", "trigger": "sks", "class_prompt": "dog"}, {"folder": "b", "class_prompt": "a mug"}]
    config = RunConfig.model_validate({"concepts": concepts, "preservation": {}})
    assert classes_of(config) == [("sks", "dog"), (None, "a mug")]
    assert classes_of(RunConfig()) == []
    one = RunConfig.model_validate({"data": {"trigger": "zwx"}, "preservation": {"class_prompt": "a dog"}})
    assert classes_of(one) == [("zwx", "a dog")]
