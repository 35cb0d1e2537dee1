"""The pure parts of the ablations: pairing, verdicts, resumption, and a page from lines whose answer is known."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from benchmarks.ablations import measure as measuring
from benchmarks.ablations.measure import detail, measure
from benchmarks.ablations.scores import scores
from benchmarks.ablations.settings import BASE, PACKS, SUBJECTS, Task, lines_of, missing, tasks
from benchmarks.ablations.table import write
from benchmarks.ablations.verdicts import CLAIMS, Estimate, estimate, paired, verdict
from benchmarks.lines import add_line, read_lines

from maquette.config.load import load_config

ALL = [*(each.name for each in SUBJECTS), *(f"pack-{n}" for n in PACKS)]


def spread(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 8)


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([(1, spread(0.1, 0.3)), (1, spread(0.01, 0.2))], "seen"),
        ([(-1, spread(-0.3, -0.1))], "seen"),
        ([(1, spread(0.1, 0.3)), (1, spread(-0.01, 0.2))], "within noise"),
        ([(1, spread(-0.3, -0.1))], "not seen"),
        ([(-1, spread(0.1, 0.3)), (-1, spread(-0.1, 0.3))], "not seen"),
        ([(1, spread(0.1, 0.3)), (1, None)], "not measured"),
        ([], "not measured"),
    ],
)
def test_a_claim_is_judged_by_its_intervals(parts: list, word: str):
    assert verdict(parts) == word


def test_what_is_hard_about_a_subject_falls_out_of_paired_differences():
    other = {(number, seed): 10.0**number for number in range(5) for seed in range(3)}
    one = {unit: value + 0.25 for unit, value in other.items() if unit != (4, 2)}
    differences = paired(one, other)
    assert (4, 2) not in differences
    found = estimate(differences)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert found.units == 14


def test_seeds_of_one_subject_are_no_more_subjects():
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(40, generator=generator, dtype=torch.float64).tolist()
    once = estimate({(number, 0): value for number, value in enumerate(means)})
    often = estimate({(number, seed): value + seed - 4 for number, value in enumerate(means) for seed in range(9)})
    assert once is not None
    assert often is not None
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))
    # The deviation of a mean of forty, by the normal law; the ends of 2000 draws vary by about 3 % each.
    deviation = float(torch.tensor(means).std(correction=0)) / math.sqrt(40)
    assert once.high - once.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert estimate({(0, 0): 1.0, (0, 1): 2.0}) is None


def test_fine_detail_of_a_flat_picture_and_of_a_chessboard():
    assert detail(torch.full((3, 8, 8), 90, dtype=torch.uint8)) == pytest.approx(0.0, abs=1e-6)
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 255
    # Of nine fields around any field, five have its own colour: it differs from their mean by 4/9.
    assert detail(board.to(torch.uint8).expand(3, 8, 8)) == pytest.approx(4 / 9)


@pytest.mark.parametrize("setting", SUBJECTS, ids=lambda setting: setting.name)
def test_every_setting_is_a_configuration(setting):
    sets = ['class_images.prompt="a photo of a mug"'] if setting.has_class else []
    config = load_config(preset=setting.recipe, flags={"SOURCE": Path("photos")}, sets=[*sets, *setting.sets])
    plain = load_config(preset="maquette64-subject-lora", flags={"SOURCE": Path("photos")})
    assert config.training.batch_size == plain.training.batch_size
    assert (config == plain) == (setting.name == "lora")


def test_claims_compare_settings_that_are_measured():
    assert {name for claim in CLAIMS for part in claim.parts for name in (part.setting, part.against)} <= {*ALL}


def test_packs_of_any_size_learn_the_same_styles():
    runs = [task for task in tasks(ALL, 0, 8, 2, 10) if task.setting != BASE]
    for size in PACKS:
        own = [task for task in runs if task.setting == f"pack-{size}"]
        assert len(own) == 2 * 8 // size
        assert sorted(n for task in own for n in task.numbers if task.seed == 1) == [*range(8)]


def test_what_has_a_line_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "trained", lambda task, folder: folder)
    monkeypatch.setattr("torch.set_num_threads", lambda num: None)  # a measurement has a process to itself
    asked = []
    monkeypatch.setattr(measuring, "judged", lambda task, number, adapter: asked.append(number) or {"judge": {}})
    task, file = Task("pack-4", "style", (0, 1, 2, 3), 0, 10), tmp_path / "results.jsonl"
    for number in (0, 2):
        add_line(file, {"setting": "pack-4", "about": "style", "number": number, "seed": 0, "steps": 10})
    with file.open("a") as opened:
        opened.write('{"setting": "pack-4", "about": "style", "num')  # cut off
    assert missing(task, read_lines(file))
    measure(task, tmp_path)
    assert asked == [1, 3]
    assert not missing(task, read_lines(file))
    assert {*lines_of(task)} == {tuple(list(row.values())[:5]) for row in read_lines(file)}
    assert missing(Task("pack-4", "style", (0, 1, 2, 3), 0, 11), read_lines(file))


def row(setting: str, about: str, number: int, seed: int, like: float, prompt: float) -> dict:
    judges = {name: {"like": [like], "prompt": [prompt], "others": [0.0]} for name in ("judge", "verifier")}
    key = {"setting": setting, "about": about, "number": number, "seed": seed, "steps": 10}
    return {**key, **judges, "detail": [like], "seconds": 1.0}


def planted() -> list[dict]:
    """DoRA better than LoRA at rank 4 for every subject, pivotal tuning worse, LoRA+ now better and now worse."""
    ends = {name: {"untouched": 0.0, "real": 1.0, "ignored": 0.0, "followed": 1.0} for name in ("judge", "verifier")}
    rows = [
        {"setting": BASE, "about": about, "number": number, "seed": 0, "steps": 0, **ends, "detail": [0.1]}
        for about in ("subject", "style")
        for number in range(6)
    ]
    gains = {"lora": 0.0, "rank-4": 0.0, "dora-4": 0.1, "pivotal": -0.1}
    for number in range(6):
        for seed in range(2):
            easy = 0.3 + 0.05 * number
            found = gains | {"plus": 0.1 * (-1) ** number}
            rows += [row(name, "subject", number, seed, easy + gain, 0.64) for name, gain in found.items()]
            rows += [row(f"pack-{n}", "style", number, seed, 0.5 - n / 50, 0.4 + n / 50 + easy) for n in PACKS]
    return rows


def test_the_balance_is_the_geometric_mean_on_the_things_own_scale():
    found = scores(planted(), "balance", "judge", 10)
    assert found["lora"][0, 1] == pytest.approx(math.sqrt(0.3 * 0.64))
    assert scores(planted(), "balance", "judge", 11) == {}


def test_the_page_says_what_was_planted(tmp_path: Path):
    rows = [json.loads(json.dumps(each)) for each in planted()]
    write(rows, 10, 500, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    told = {line.split("|")[1].strip(): line.split("|")[3].strip(" *") for line in page.splitlines() if "| S" in line}
    assert told["DoRA beats LoRA at low rank"] == "seen"
    assert told["pivotal tuning beats plain"] == "not seen"
    assert told["LoRA+ helps at equal steps"] == "within noise"
    assert told["larger packs raise prompt fidelity"] == told["larger packs lower likeness to the style"] == "seen"
    assert told["rank 64 smooths"] == "not measured"
    assert "108 results of 500: 6 held-out subjects" in page
    for name in ("ablations-subjects", "ablations-packs"):
        assert f"(images/{name}.svg)" in page
        assert ElementTree.parse(tmp_path / "images" / f"{name}.svg").getroot().tag.endswith("svg")
