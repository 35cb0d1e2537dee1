"""A bank of adapters is what a run on each of its concepts alone would be, number by number."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.learning.small import events, paint, train, tree
from tests.learning.test_run_resume import killed_when_saving

from maquette.adapters.attach import attach
from maquette.adapters.bank import Bank, blocks
from maquette.adapters.read import locate
from maquette.config.running import ModelConfig
from maquette.config.schema import RunConfig
from maquette.data.dataset import build
from maquette.data.gather import gather
from maquette.errors import ConfigError, ModelError
from maquette.families.load import load_model
from maquette.report.read import read_facts
from maquette.report.usage import usages
from maquette.runs.events import Previewed
from maquette.runs.rundir import RunDir
from maquette.training.loop import Progress
from maquette.training.loop import train as steps_of
from maquette.training.objective import denoising
from maquette.training.optim import build_optimizer
from maquette.training.previews import requests_of
from maquette.training.schedule import rate_at
from maquette.training.seeds import rng_at
from maquette.training.weighting import weighting_of

TRIGGERS = ("sks", "dog", "cat")
UNREAD = ".text_encoder.encoder.layers.2."
"""The last layer of the first text encoder, which SDXL leaves out."""


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three concepts of unlike many pictures."""
    for count, trigger in enumerate(TRIGGERS, 2):
        folder = paint(tmp_path / "photos" / trigger, tuple(f"{trigger}{i}" for i in range(count)))
        for i in range(count):
            (folder / f"{trigger}{i}.txt").write_text(f"a photo of {trigger}, red, on the beach")
    return tmp_path / "photos"


def configured(folders: Path, base: Path, *triggers: str, bank: bool, **sections: object) -> RunConfig:
    sections = {
        "adapter": {"kind": "lora", "rank": 2, "dropout": 0.2, "targets": "attention+feed_forward+convolutions"},
        "training": {"batch_size": 2, "gradient_accumulation": 2, "steps": 3, "max_grad_norm": 0.05},
        **sections,
    }
    return RunConfig.model_validate(
        {
            "model": {"base": str(base)},
            "data": {
                "buckets": False,
                "flip": True,
                "captions": {"shuffle": True, "keep_tokens": 1, "flip_tag": "of the"},
            },
            "concepts": [{"folder": folders / trigger, "trigger": trigger} for trigger in triggers],
            "text_encoder": {"train": "lora", "stop": 0.7},
            "optimizer": {"kind": "adamw", "lr": 0.01},
            "loss": {"noise_offset": 0.1},
            **sections,
            "adapter": {**sections["adapter"], **({"bank": True} if bank else {})},
        }
    )


def trained(config: RunConfig) -> Iterator[object]:
    """Train in float64 by the loop itself; what is trained, and the loss of each step."""
    family = load_model(config.model, device="cpu")
    dataset = build(config, gather(config).usable(), family, None, torch.device("cpu"))
    for module in family.modules.values():
        module.double()
    trainable = attach(config, family, steps=3, weight_decay=0.01, rng=rng_at(0, 0, stream="adapter"))
    for group in trainable.groups:
        for param in group.params:
            param.data = param.data.double()
    objective = denoising(family, weighting_of(config.loss.weighting), noise_offset=0.1, apart=config.is_bank)
    losses = [
        float(stats.loss)
        for stats in steps_of(
            trainable,
            objective,
            dataset.batches_at,
            build_optimizer(config.optimizer, trainable.groups),
            rate_at(config.schedule, 3),
            Progress(),
            steps=3,
            rng_at=lambda step, micro: rng_at(0, step, micro),
            max_grad_norm=config.training.max_grad_norm,
        )
    ]
    return trainable, losses


@pytest.mark.parametrize(("kind", "triggers"), [("sd1", TRIGGERS), ("sd2-v", TRIGGERS[:2]), ("sdxl", TRIGGERS[:2])])
def test_a_bank_is_what_runs_on_each_concept_alone_would_be(
    kind: str, triggers: tuple[str, ...], folders: Path, bases: Callable[[str], Path]
) -> None:
    base = bases(kind)
    bank, told = trained(configured(folders, base, *triggers, bank=True))
    assert isinstance(bank, Bank)
    alone = [trained(configured(folders, base, trigger, bank=False)) for trigger in triggers]
    for part, (own, _) in zip(bank.parts, alone, strict=True):
        one, other = part.state_dict(), own.state_dict()
        assert one.keys() == other.keys()
        for name in other:
            # float64; noise is drawn and errors are squared in float32, from the same numbers
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-10)
    expected = [sum(losses) / len(triggers) for losses in zip(*(losses for _, losses in alone), strict=True)]
    assert told == pytest.approx(expected, abs=1e-6)
    ups = {name: t for name, t in alone[0][0].state_dict().items() if "lora_B" in name}
    moved = [name for name, t in ups.items() if float(t.abs().max()) > 1e-3]
    assert set(ups) - set(moved) == {name for name in ups if kind == "sdxl" and UNREAD in f".{name}"}
    apart = [part.state_dict() for part in bank.parts]
    assert not any(torch.equal(apart[0][name], apart[1][name]) for name in moved)


def test_a_run_of_a_bank_writes_an_adapter_for_each_concept(
    folders: Path, bases: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "data__prompt": None,
        "data__buckets": False,
        "adapter__kind": "lora",
        "adapter__bank": True,
        "adapter__dropout": 0.1,
        "pack__trigger": "[name]",
        "text_encoder__train": "lora",
        "training__steps": 4,
        "preview__every": 4,
        "validation__every": 4,
        "checkpoints__every": 2,
    }

    base = bases("sdxl")

    def bank(out: Path, *, resume: bool = False) -> RunDir:
        return train(folders, base, out, resume=resume, **settings)

    whole = bank(tmp_path / "a/run")
    files = sorted(path.relative_to(whole.export).as_posix() for path in whole.export.glob("*/*.safetensors"))
    names = sorted(TRIGGERS)
    assert [f for f in files if not f.startswith("steps")] == [
        f"{name}/{file}" for name in names for file in ("pytorch_lora_weights.safetensors", f"run-{name}.safetensors")
    ]
    weights = [load_file(whole.export / name / f"run-{name}.safetensors") for name in names]
    ups = [key for key in weights[0] if "lora_up" in key and "lora_te1_text_model_encoder_layers_2_" not in key]
    assert not any(torch.equal(weights[0][key], weights[1][key]) for key in ups)
    steps = whole.export / "steps"
    assert sorted(p.name for p in (steps / "cat").iterdir()) == [f"run-cat-step0000000{n}.safetensors" for n in (2, 4)]
    painted = [event for event in events(whole).of(Previewed) if event.step == 4]
    assert [event.prompt for event in painted] == [f"a photo of {name}, red, on the beach" for name in names]
    # A preview is what `maquette generate` makes of the concept's own file.
    from maquette.generation.batch import Maker, opened
    from maquette.generation.sample import Request, painter

    request = Request(prompt=painted[1].prompt, seed=0, steps=2, guidance=5.0)
    file = whole.export / names[1] / f"run-{names[1]}.safetensors"
    with opened(Maker(str(base), [(file, 1.0)])) as family, painter(family) as paint:
        made = paint(request)
    assert torch.equal(made, picture(whole.root / painted[1].path))

    # The lines to copy ask for a concept, and name what holds it.
    facts = read_facts(whole)
    command, code = (usage.code for usage in usages(facts.subject)[:2])
    *_, prompt, _, folder = shlex.split(command)
    assert (prompt, folder) == (painted[0].prompt, "run/export/cat")
    assert locate(whole.root.parent / folder).name == "run-cat.safetensors"
    (loading,) = [line for line in code.splitlines() if "load_lora_weights" in line]
    pipeline = load_model(ModelConfig(base=str(base)), device="cpu").pipeline()
    monkeypatch.chdir(whole.root.parent)
    exec(loading, {"pipeline": pipeline})
    assert pipeline.get_list_adapters().keys() == {"unet", "text_encoder", "text_encoder_2"}

    killed_when_saving(2, monkeypatch, lambda: bank(tmp_path / "b/run"))
    resumed = bank(tmp_path / "b/run", resume=True)
    last = "checkpoints/step-00000004/adapter.safetensors"
    assert tree(whole.root)[last] == tree(resumed.root)[last]


def picture(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def test_blocks_of_other_lengths_are_refused() -> None:
    assert blocks(torch.tensor([2, 2, 0, 0])) == ([2, 0], 2)
    for rows in ([0, 0, 1], [0, 1, 0, 1]):
        with pytest.raises(ModelError, match="every concept must have one block of the same length"):
            blocks(torch.tensor(rows))


@pytest.mark.parametrize(
    ("sections", "path", "cure"),
    [
        ({"optimizer": {"kind": "prodigy"}}, "optimizer.kind", 'Use optimizer.kind = "adamw"'),
        ({"data": {"buckets": True}}, "data.buckets", "set it to false"),
        ({"evaluation": {"every": 5}}, "evaluation.every", "maquette evaluate"),
        ({"concepts": []}, "adapter.bank", "an adapter is trained for each"),
        ({"concepts": [{"folder": "a"}]}, "concepts.0.trigger", "files are named for it"),
        (
            {"concepts": [{"folder": "a", "trigger": "a b"}, {"folder": "b", "trigger": "a-b"}]},
            "concepts.1.trigger",
            "change it",
        ),
        ({"pack": {"steps_per_concept": 5}}, "pack.steps_per_concept", "Remove it"),
        (
            {
                "class_images": {},
                "concepts": [
                    {"folder": "a", "trigger": "a", "class_prompt": "a dog"},
                    {"folder": "b", "trigger": "b"},
                ],
            },
            "concepts.1.class_prompt",
            "is needed",
        ),
    ],
)
def test_what_a_bank_cannot_do_is_refused_with_its_cure(sections, path: str, cure: str) -> None:
    tree = {
        "adapter": {"kind": "lora", "bank": True},
        "data": {"buckets": False},
        "concepts": [{"folder": "a", "trigger": "a"}],
        **sections,
    }
    with pytest.raises(ValueError, match=path.replace(".", r"\.")) as error:
        RunConfig.model_validate(tree)
    assert cure in str(error.value)


def test_a_preview_that_names_no_concept_is_refused(folders: Path, bases: Callable[[str], Path]) -> None:
    config = configured(folders, bases("sd1"), *TRIGGERS, bank=True, preview={"prompts": ["a photo"]})
    with pytest.raises(ConfigError, match=r"asks for none of the bank's adapters: .*\(sks, dog, cat\)"):
        requests_of(config, [])
