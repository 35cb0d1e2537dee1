import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from maquette.embedded import judging
from maquette.embedded.bank import VIEWS, bank_scene
from maquette.embedded.claims import facts
from maquette.embedded.pseudo_styles import CHANGES, invented
from maquette.embedded.render import render
from maquette.embedded.scene import scene_at, subject_at
from maquette.embedded.vocabulary import STYLES
from maquette.evaluation.towers import Encoder, Networks, TowerConfig, tokenize
from maquette.training.seeds import rng_at

CHANNELS = (8, 8, 8, 8)


def numbered_bank(count: int) -> np.ndarray:
    """Pictures of one grey tone each, so that a batch shows which of them it holds."""
    tones = np.arange(count, dtype=np.uint8)
    return np.broadcast_to(tones[:, None, None, None], (count, 3, 64, 64)).copy()


def held_by(pixels: torch.Tensor) -> list[int]:
    return ((pixels[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


def test_views_of_one_subject_follow_each_other_in_different_scenes():
    scenes = [bank_scene(key, "test", "subjects") for key in range(2 * VIEWS)]
    assert [scene.subject for scene in scenes] == [subject_at(0, "test")] * VIEWS + [subject_at(1, "test")] * VIEWS
    assert len({scene.seed for scene in scenes}) == 2 * VIEWS
    assert bank_scene(5, "test") == scene_at(5, "test")
    assert bank_scene(0, "judge", "faces").subject != bank_scene(0, "verifier", "faces").subject


def test_a_reading_batch_is_a_function_of_its_step_and_carries_the_truth():
    bank, words = numbered_bank(40), judging.vocabulary("test", 200)
    batches_at = judging.reading_batches(bank, "test", words, 8, seed=3)
    (batch,), (again,) = batches_at(2), judging.reading_batches(bank, "test", words, 8, seed=3)(2)
    assert torch.equal(batch.pixels, again.pixels)
    assert torch.equal(batch.tokens, again.tokens)
    for row, key in enumerate(held_by(batch.pixels)):
        true = facts(scene_at(key, "test"))
        for name, values in judging.ATTRIBUTES.items():
            number = batch.labels[name][row].item()
            assert (values[number] if number != judging.NOTHING else None) == getattr(true, name)
    seen = [key for step in range(5) for key in held_by(batches_at(step)[0].pixels)]
    assert sorted(seen) == list(range(40))


def test_subject_batches_hold_views_of_one_subject_and_strangers_of_its_kind():
    bank = numbered_bank(30 * VIEWS)
    (batch,) = judging.subject_batches(bank, "test", 24, seed=1)(7)
    keys, groups = held_by(batch.pixels), batch.group.tolist()
    assert [key // VIEWS for key in keys] == groups
    assert len(set(keys)) == len(keys)
    assert {groups.count(group) for group in groups} == {judging.VIEWS_IN_BATCH}
    kinds = [subject_at(group, "test").kind for group in set(groups)]
    assert len(set(kinds)) == judging.KINDS_IN_BATCH


def test_style_batches_group_pictures_by_style_and_invented_styles_apart():
    bank = numbered_bank(250)
    pure, mixed = 0, 0
    for step in range(4):
        (batch,) = judging.style_batches(bank, "test", 32, seed=1)(step)
        keys, groups = held_by(batch.pixels), batch.group.tolist()
        for key, group in zip(keys, groups, strict=True):
            if group < len(STYLES):
                assert scene_at(key, "test").style == STYLES[group]
                pure += 1
            else:
                mixed += 1
                assert groups.count(group) == judging.PICTURES_OF_STYLE
    assert pure
    assert mixed


def test_an_invented_style_changes_the_pictures_of_a_group_alike():
    one = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for seed in range(30):
        changed = invented(one.expand(3, -1, -1, -1).contiguous(), rng_at(seed, 0))
        assert changed.abs().max() <= 1
        assert torch.isfinite(changed).all()
        # Grain, facets and the phase of lines differ from picture to picture; overall tone does not.
        torch.testing.assert_close(changed[0].mean((1, 2)), changed[1].mean((1, 2)), rtol=0, atol=0.12)


@pytest.mark.parametrize("change", CHANGES)
def test_every_invented_change_changes_something(change: Callable[[torch.Tensor, torch.Generator], torch.Tensor]):
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    changed = change(pictures, rng_at(5, 0))
    assert changed.shape == pictures.shape
    assert (changed - pictures).abs().mean() > 0.01


def test_the_contrast_of_groups_is_the_paper_s_sum():
    torch.manual_seed(0)
    encoder, pixels = Encoder(CHANNELS, 8), torch.randn(6, 3, 64, 64)
    group = torch.tensor([0, 0, 0, 1, 1, 2])
    batch = judging.GroupBatch(pixels, group, torch.full((6,), 1 / 6), torch.zeros(6, dtype=torch.long))
    loss = judging.telling_apart(encoder, lambda x, _: x)(batch, rng_at(0, 0))
    z = encoder(pixels).detach().double()
    for i in range(5):  # the last picture has no fellow
        others = [a for a in range(6) if a != i]
        fellows = [p for p in others if group[p] == group[i]]
        total = math.log(sum(math.exp(float(z[i] @ z[a]) / judging.PAIR_TEMPERATURE) for a in others))
        expected = sum(total - float(z[i] @ z[p]) / judging.PAIR_TEMPERATURE for p in fellows) / len(fellows)
        assert loss[i].item() == pytest.approx(expected, rel=1e-4)  # fp32 exponentials of up to 10


def test_reading_falls_when_its_own_batch_is_learned():
    words = judging.vocabulary("test", 200)
    networks = Networks(TowerConfig(CHANNELS, 16, 16, judging.ATTRIBUTES, words))
    temperature = judging.Temperature()
    objective = judging.reading(networks.reader, networks.text, temperature)
    bank = np.stack([np.asarray(render(scene_at(key, "test"))).transpose(2, 0, 1) for key in range(16)])
    (batch,) = judging.reading_batches(bank, "test", words, 16, seed=0)(0)
    params = [*networks.reader.parameters(), *networks.text.parameters(), *temperature.parameters()]
    optimizer = torch.optim.AdamW(params, lr=1e-2)
    losses = []
    for _ in range(40):
        loss = objective(batch, rng_at(0, 0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert temperature.log_scale.grad is not None


def test_text_rows_do_not_depend_on_their_neighbours():
    words = ("a", "mug", "red")
    torch.manual_seed(0)
    text = Networks(TowerConfig(CHANNELS, 16, 16, judging.ATTRIBUTES, words)).text
    alone, padded = text(tokenize(["a mug"], words)), text(tokenize(["a mug", "a red red red mug"], words))[:1]
    torch.testing.assert_close(alone, padded, rtol=0, atol=1e-6)  # fp32 sums in another order
    assert tokenize(["mug sks a"], words).tolist() == [[2, 1]]
