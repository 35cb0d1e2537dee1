"""Runs that learn new tokens: what they write, how it is used here and elsewhere, and what they refuse."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import KandinskyV22PriorPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.learning.small import maquette, paint, train

from maquette.adapters.read import parts_of
from maquette.config.load import load_config
from maquette.data.dataset import build
from maquette.data.gather import gather
from maquette.errors import ConfigError, DataError
from maquette.families.load import load_family
from maquette.families.weights import read_json
from maquette.generation.batch import Maker, opened
from maquette.report.read import read_facts
from maquette.report.usage import usages
from maquette.runs.best import read_best
from maquette.runs.files import write_text
from maquette.runs.rundir import RunDir
from maquette.training.opening import load_base

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

PROMPT = "a photo of TOK dog"
PIVOTAL: Mapping[str, object] = {"data__prompt": PROMPT, "tokens": {"placeholders": {"TOK": 2}, "stop": 0.5}}
ALONE: Mapping[str, object] = {
    "data__prompt": PROMPT,
    "tokens": {"placeholders": {"TOK": 2}},
    "adapter": {"kind": "none"},
    "adapter__rank": None,
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return paint(tmp_path / "photos")


@pytest.fixture(scope="session")
def published(bases: Callable[[str], Path]) -> Callable[[str], Path]:
    """A base whose configs name the end token 2, as those of the published models do."""

    def base(kind: str) -> Path:
        folder = bases(kind)
        for config in folder.glob("text_encoder*/config.json"):
            write_text(config, re.sub(r'"eos_token_id": \d+', '"eos_token_id": 2', config.read_text()))
            assert read_json(config)["eos_token_id"] == 2
        return folder

    return base


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


KINDS = {
    "sd1": {"optimizer__kind": "adamw", "class_images": {"prompt": "a photo of dog", "count": 2, "steps": 2}},
    "sd2-v": {"optimizer__kind": "prodigy", "optimizer__lr": 1.0, "adapter__kind": "dora"},
    "sdxl": {"optimizer__kind": "prodigy", "optimizer__lr": 1.0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_halt_to_the_bit_and_go_with_the_adapter_wherever_it_is_used(
    kind, photos, published, tmp_path, monkeypatch
):
    settings = {"training__steps": 4, "checkpoints__every": 1, "preview__every": 4, "preview__prompts": [PROMPT]}
    run = train(photos, published(kind), tmp_path / "mug", **PIVOTAL, **KINDS[kind], **settings)
    rows = [load_file(run.export / "steps" / f"mug-step{step:08d}_emb.safetensors") for step in range(1, 5)]
    final = load_file(run.export / "mug_emb.safetensors")
    assert final.keys() == ({"clip_l", "clip_g"} if kind == "sdxl" else {"clip_l"})
    for key, value in final.items():
        assert value.dtype == torch.float32
        assert not torch.equal(rows[0][key], rows[1][key])
        assert all(torch.equal(later[key], rows[1][key]) for later in rows[2:])
        assert torch.equal(value, rows[1][key])
    adapters = [load_file(run.export / "steps" / f"mug-step{step:08d}.safetensors") for step in (3, 4)]
    assert any(not torch.equal(value, adapters[1][key]) for key, value in adapters[0].items())

    # The same picture from the run's folder as the last preview shows.
    arguments = ("--steps", 2, "--out", tmp_path / "pictures")
    assert maquette("generate", PROMPT, "--adapter", run.root, *arguments) == 0
    (made,) = [path for path in (tmp_path / "pictures").glob("*.png") if path.name != "grid.png"]
    assert np.array_equal(pixels(made), pixels(run.preview(4, 0, 0)))

    # What the card tells diffusers' users comes to what we read, though the base names the wrong end token.
    (code,) = [usage.code for usage in usages(read_facts(run).subject) if usage.language == "python"]
    lines = [line for line in code.splitlines() if "cuda" not in line and "picture" not in line]
    code = "\n".join(lines).replace(", torch_dtype=torch.float16", "")
    code = code.replace(f'model = "{kind}"', f"model = {str(published(kind))!r}")
    monkeypatch.chdir(tmp_path)
    there: dict[str, object] = {}
    exec(code, there)
    pipeline = there["pipeline"]
    assert '"<s0>", "<s1>"' in code
    prompt = {"prompt": "a photo of <s0><s1> dog", "device": "cpu", "num_images_per_prompt": 1}
    told = pipeline.encode_prompt(**prompt, do_classifier_free_guidance=False)
    with opened(Maker(None, [(run.root, 1.0)])) as family, torch.no_grad():
        expected = family.embed_text(family.tokenize([PROMPT]))
    torch.testing.assert_close(told[0], expected["context"])
    if kind == "sdxl":
        torch.testing.assert_close(told[2], expected["pooled"])


def test_tokens_of_a_prior_are_called_in_the_prompts_of_its_decoder(photos, bases, tmp_path, capsys):
    base, decoder = bases("kandinsky-prior"), bases("kandinsky-decoder")
    previews = {"model__decoder": str(decoder), "preview__every": 4, "preview__prompts": [PROMPT]}
    run = train(photos, base, tmp_path / "mug", training__steps=4, **PIVOTAL, **previews)
    assert load_file(run.export / "mug_emb.safetensors")["emb_params"].shape == (2, 24)
    halves = ("--base", decoder, "--prior", base, "--adapter", run.root)
    assert maquette("generate", PROMPT, *halves, "--steps", 2, "--out", tmp_path / "pictures") == 0
    (made,) = [path for path in (tmp_path / "pictures").glob("*.png") if path.name != "grid.png"]
    assert np.array_equal(pixels(made), pixels(run.preview(4, 0, 0)))

    assert maquette("fuse", "--base", base, "--adapter", run.root, "--out", tmp_path / "fused") == 0
    theirs = KandinskyV22PriorPipeline.from_pretrained(tmp_path / "fused")
    with opened(Maker(str(decoder), [(run.root, 1.0)], prior=str(base))) as family:
        assert family.words == {"TOK": ["<s0>", "<s1>"]}
        ours = family.prior.pipeline()
        for pipeline in (theirs, ours):
            pipeline.set_progress_bar_config(disable=True)
        asked = {"prompt": "a photo of <s0><s1> dog", "num_inference_steps": 3}
        told, expected = (
            pipeline(**asked, generator=torch.Generator().manual_seed(1)).image_embeds for pipeline in (theirs, ours)
        )
    torch.testing.assert_close(told, expected, rtol=1e-4, atol=1e-5)
    assert 'prior("a photo of <s0><s1> dog"' in run.card.read_text()

    capsys.readouterr()
    assert maquette("fuse", *halves, "--out", tmp_path / "lost") == 2
    assert "with the prior as its --base" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("settings", [PIVOTAL, ALONE], ids=["pivotal", "alone"])
def test_the_checkpoint_that_is_chosen_has_its_own_tokens(settings, photos, bases, tmp_path):
    measured = {"validation": {"every": 1, "draws": 1}, "checkpoints__every": 1, "evaluation__every": 0}
    run = train(photos, bases("sd1"), tmp_path / "mug", **settings, **measured)
    best = read_best(run)
    names = [path.name for path in run.best.glob("*_emb.safetensors")]
    assert names == [f"mug-step{best.step:08d}_emb.safetensors"]
    kept = load_file(run.export / "steps" / names[0])
    assert torch.equal(load_file(run.best / names[0])["clip_l"], kept["clip_l"])
    assert torch.equal(load_file(run.best / "embeddings" / "TOK.safetensors")["clip_l"], kept["clip_l"])
    adapter, tokens = parts_of(run.best)
    assert (adapter is None) == (settings is ALONE)
    assert tokens == run.best / names[0]


def test_textual_inversion_learns_rows_alone_and_its_file_is_all_that_it_needs(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "mug", **ALONE)
    written = {path.relative_to(run.export).as_posix() for path in run.export.rglob("*") if path.is_file()}
    assert written == {
        "mug_emb.safetensors",
        "embeddings/TOK.safetensors",
        "tokens.json",
        "steps/mug-step00000003_emb.safetensors",
    }
    places = {
        "run": run.root,
        "file": run.export / "mug_emb.safetensors",
        "word": run.export / "embeddings" / "TOK.safetensors",
    }
    made = {}
    for name, path in places.items():
        out = tmp_path / name
        arguments = ("--base", bases("sd1"), "--steps", 2, "--out", out, "--adapter", path)
        assert maquette("generate", PROMPT, *arguments) == 0
        made[name] = pixels(next(path for path in out.glob("*.png") if path.name != "grid.png"))
    assert np.array_equal(made["run"], made["file"])
    assert np.array_equal(made["run"], made["word"])
    fused = tmp_path / "fused"
    assert maquette("fuse", "--adapter", run.root, "--base", bases("sd1"), "--out", fused) == 0
    out = tmp_path / "from fused"
    assert maquette("generate", PROMPT.replace("TOK", "<s0><s1>"), "--base", fused, "--steps", 2, "--out", out) == 0
    assert np.array_equal(made["run"], pixels(next(path for path in out.glob("*.png") if path.name != "grid.png")))


def test_tokens_made_elsewhere_go_beside_an_adapter_of_a_run(photos, bases, tmp_path, capsys):
    run = train(photos, bases("sd1"), tmp_path / "mug", **PIVOTAL, training__steps=2)
    other = tmp_path / "HAT.safetensors"
    save_file({"emb_params": torch.randn(1, 32)}, other)
    prompt = "a photo of TOK dog on the HAT beach"
    arguments = ("generate", prompt, "--steps", 2, "--adapter", run.root, "--adapter", other)
    assert maquette(*arguments, "--out", tmp_path / "both") == 0
    assert maquette(*arguments, "--scale", 1, "--scale", 0.5, "--out", tmp_path / "scaled") == 2
    assert not (tmp_path / "scaled").exists()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((run.export / "mug_emb.safetensors").read_bytes())
    assert maquette(*arguments, "--adapter", copy, "--out", tmp_path / "twice") == 2
    assert 'both have tokens for "TOK"' in capsys.readouterr().err


def test_text_is_read_once_when_the_tokens_rest(photos, bases, tmp_path):
    """A batch behind the halting step carries what the encoders make of its captions now, and not what they made."""
    sets = ["tokens.placeholders={TOK=2}", "tokens.stop_step=2", "training.steps=4", "adapter.rank=2"]
    config = load_config(flags={"SOURCE": photos, "--prompt": PROMPT, "--base": bases("sdxl")}, sets=sets)
    family = load_base(config, torch.device("cpu"))
    data = build(config, gather(config).usable(), family, tmp_path / "cache", torch.device("cpu"))
    data.prepare()
    (before,) = data.batches_at(1)
    assert before.tokens.keys() == {"text_encoder", "text_encoder_2"}
    assert before.code.cond.keys() == {"time_ids"}
    (early,) = data.batches_at(2)  # as a start from the first batches asks for them, before anything is learned
    with torch.no_grad():
        family.text_encoder_2.get_input_embeddings().new.weight += 1.0
    (after,) = data.batches_at(2)
    assert not torch.equal(early.code.cond["pooled"], after.code.cond["pooled"])
    assert not after.tokens
    with torch.no_grad():
        expected = family.embed_text(before.tokens)
    assert all(torch.equal(after.code.cond[name], value) for name, value in expected.items())
    assert data.still(0).tokens.keys() == before.tokens.keys()
    text = {path.name for path in (tmp_path / "cache").rglob("*") if "text" in path.name}
    assert text == set()


def test_starts_from_pictures_and_output_preservation_go_with_new_tokens(photos, bases, tmp_path):
    settings = {**PIVOTAL, "data__trigger": "TOK dog", "preservation": {"class_prompt": "dog"}, "training__steps": 4}
    init = {"kind": "lora_ga", "batches": 4}
    run = train(photos, bases("sd1"), tmp_path / "mug", **settings, adapter__init=init, checkpoints__every=2)
    halted, last = (load_file(run.export / "steps" / f"mug-step{s:08d}_emb.safetensors")["clip_l"] for s in (2, 4))
    assert torch.equal(halted, last)
    assert maquette("generate", PROMPT, "--adapter", run.root, "--steps", 2, "--out", tmp_path / "pictures") == 0


def test_the_halting_step_stays_where_it_was_when_more_steps_are_asked_for(photos, bases, tmp_path):
    settings = {**PIVOTAL, "training__steps": 4, "checkpoints__every": 1}
    run = train(photos, bases("sd1"), tmp_path / "mug", **settings)
    first = load_file(run.export / "mug_emb.safetensors")
    assert load_config(run.config).tokens.stop_step == 2
    stop = {"tokens": {"placeholders": {"TOK": 2}, "stop_step": 2}, "training__steps": 6}
    train(photos, bases("sd1"), run.root, resume=True, **{**settings, **stop})
    again = load_file(run.export / "mug_emb.safetensors")
    assert torch.equal(first["clip_l"], again["clip_l"])
    with pytest.raises(ConfigError, match=r"tokens.stop_step: 2 -> 4"):
        train(photos, bases("sd1"), run.root, resume=True, **{**settings, "training__steps": 8})


def test_a_placeholder_that_no_caption_says_is_refused_before_anything_is_loaded(photos, tmp_path):
    nowhere = tmp_path / "no base"
    with pytest.raises(DataError, match='No caption says "TOK"'):
        train(photos, nowhere, tmp_path / "run", **{**PIVOTAL, "data__prompt": "a photo of TOKs dog"})
    (photos / "one.txt").write_text("a TOK dog")
    (photos / "two.txt").write_text("a dog")
    (photos / "three.txt").write_text("TOK")
    scan = gather(load_config(flags={"SOURCE": photos}, sets=["tokens={}"]))
    assert [warning for warning in scan.warnings() if "two.png" in warning and '"TOK"' in warning]
    large = paint(tmp_path / "large", size=(64, 64))
    for name in ("one", "two", "three"):
        (large / f"{name}.txt").write_text("a TOK dog")
    check = ("check", large, "--resolution", 64, "--placeholder")
    assert maquette(*check, "TOK") == 0
    assert maquette(*check, "TOK", "--placeholder", "HAT") == 1


def test_the_run_says_what_it_learned(photos, bases, tmp_path):
    run = train(photos, bases("sd1"), tmp_path / "mug", **PIVOTAL, training__steps=2)
    card, page = RunDir(run.root).card.read_text(), run.report.read_text()
    assert "A LoRA of rank 2 with 2 new tokens (TOK)" in card
    assert "`TOK` stands for `<s0><s1>`" in card
    assert "a photo of embedding:TOK dog" in card
    assert 'load_textual_inversion(rows["clip_l"], token=["<s0>", "<s1>"]' in card
    assert "2 new tokens (TOK)" in page
    assert "embedding:TOK" in page


def test_the_base_stays_as_it_was_for_prompts_without_new_tokens(bases):
    plain = load_family(bases("sdxl"))
    config = load_config(flags={"--base": bases("sdxl")}, sets=["tokens={}"])
    family = load_base(config, torch.device("cpu"))
    prompts = ["a photo of a dog on the beach"]
    with torch.no_grad():
        one, other = (each.embed_text(each.tokenize(prompts)) for each in (plain, family))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
