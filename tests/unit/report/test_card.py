"""The model card: what the hub reads in front, and what a person reads behind it."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard
from tests.unit.report.sample_run import HOME, PROMPTS, export, picture, write_run

from maquette.config.data import ConceptConfig
from maquette.report.card import front_matter, last_previews, render_card, write_card
from maquette.report.facts import Facts
from maquette.report.html import render
from maquette.report.pictures import FOLDER, save_thumbnails
from maquette.report.read import read_facts
from maquette.runs.rundir import RunDir

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


def card_of(run: RunDir) -> tuple[dict[str, object], str]:
    write_card(run)
    empty, front, body = run.card.read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), body


def test_the_front_matter_is_what_the_hub_reads(tmp_path):
    run = write_run(tmp_path / "mug", f'model.base="{SDXL}"')
    front, _ = card_of(run)
    assert front == {
        "base_model": SDXL,
        "instance_prompt": "sks mug",
        "license": "openrail++",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": ["text-to-image", "diffusers", "lora", "template:sd-lora", "maquette"],
        "widget": [
            {"text": prompt, "output": {"url": f"previews/step-000040-prompt-{i:02}-seed-0.png"}}
            for i, prompt in enumerate(PROMPTS)
        ],
    }
    hub = ModelCard.load(run.card)
    assert hub.data.base_model == SDXL
    assert hub.data.license == "openrail++"


def test_a_licence_that_the_hub_has_no_word_for_is_named_and_linked(tmp_path):
    base = "playgroundai/playground-v2.5-1024px-aesthetic"
    link = f"https://huggingface.co/{base}/blob/main/LICENSE.md"
    run = write_run(tmp_path / "mug", f'model.base="{base}"')
    _, body = card_of(run)
    hub = ModelCard.load(run.card)
    assert hub.data.license == "other"
    assert hub.data.license_name == "playground-v2dot5-community"
    assert hub.data.license_link == link
    assert f"{base}: playground-v2dot5-community ({link})." in body


def test_a_decoder_that_reads_no_words_is_not_said_to_have_learned_some(tmp_path):
    settings = ['model.base="org/decoder"', 'model.prior="org/prior"']
    front, body = card_of(write_run(tmp_path / "drawn", *settings))
    assert "instance_prompt" not in front
    assert "Trigger" not in body


def test_every_picture_of_the_card_is_in_the_folder(tmp_path):
    run = write_run(tmp_path / "mug")
    front, body = card_of(run)
    named = re.findall(r"!\[\]\((.*?)\)", body) + [entry["output"]["url"] for entry in front["widget"]]
    assert len(named) == 2 + 3 + 2
    assert all((run.root / name).is_file() for name in named)
    assert HOME not in run.card.read_text(encoding="utf-8")


def test_the_body_says_how_to_use_it(tmp_path):
    _, body = card_of(write_run(tmp_path / "mug", "adapter.rank=8"))
    for words in [
        "# mug",
        "A LoRA of rank 8 for maquette-64, trained with maquette on 3 pictures.",
        "write `sks mug` in the prompt",
        "**Strength:** 1",
        'maquette generate "a sks mug on the beach" --adapter mug',
        'weight_name="pytorch_lora_weights.safetensors"',
        "### ComfyUI: `export/mug.safetensors`",
        "<lora:mug:1>",
        "adapter.rank = 8",
        "maquette-64: apache-2.0",
    ]:
        assert words in body, words


def test_a_dora_says_which_file_is_for_which_tool(tmp_path):
    run = write_run(tmp_path / "mug", 'adapter.kind="dora"')
    export(run.export / "mug.safetensors", {"maquette.dialect": "kohya", "ss_network_args": '{"dora_wd": "True"}'})
    front, body = card_of(run)
    assert front["tags"] == ["text-to-image", "diffusers", "lora", "dora", "template:sd-lora", "maquette"]
    assert "diffusers leaves the magnitudes of mug.safetensors out" in body


def test_a_base_of_unknown_licence_is_said_to_be_one(tmp_path):
    front, body = card_of(write_run(tmp_path / "mug", 'model.base="/models/mine"'))
    assert "license" not in front
    assert "base_model" not in front
    assert "The licence of the base, mine, is not known here" in body


def test_a_whole_model_is_no_lora(tmp_path):
    run = write_run(tmp_path / "mug", 'adapter.kind="full"', last=20)
    (run.export / "model").mkdir(parents=True)
    (run.export / "model" / "model_index.json").write_text("{}")
    front, body = card_of(run)
    assert "lora" not in front["tags"]
    assert "template:sd-lora" not in front["tags"]
    assert "All weights of maquette-64, fine-tuned" in body
    assert "from_pretrained(model)" in body
    assert 'model = "mug/export/model"' in body


def test_a_run_that_is_under_way_has_a_card_too(tmp_path):
    front, body = card_of(write_run(tmp_path / "mug", last=0))
    assert "library_name" not in front
    assert "**Not finished:** step 0 of 40." in body
    assert "## How to use it" not in body


@pytest.mark.parametrize(
    "words", ["a | b", "<script>alert(1)</script>", "# title", "--- x: [", "[a](b) `c`", "two\nlines"]
)
def test_whatever_a_prompt_says_neither_yaml_nor_markdown_breaks(tmp_path, words):
    run = write_run(tmp_path / "mug", prompts=[words])
    front, body = card_of(run)
    assert front["widget"][0]["text"] == words
    (row,) = [line for line in body.splitlines() if line.startswith("| ![]")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert not re.search(r"(?<!\\)<script", row)


def test_the_gallery_shows_one_seed_of_each_prompt_first(tmp_path):
    run = write_run(tmp_path / "mug", seeds=(1, 2))
    facts = read_facts(run)
    shown = [(preview.step, preview.prompt, preview.seed) for preview in last_previews(facts)]
    assert shown == [(40, prompt, seed) for seed in (1, 2) for prompt in PROMPTS]
    run.preview(40, 0, 1).unlink()
    assert [preview.seed for preview in last_previews(facts)] == [2, 1, 2]
    assert len(front_matter(facts, last_previews(facts), run)["widget"]) == 3


def test_a_card_without_training_pictures_shows_none(tmp_path):
    run = write_run(tmp_path / "mug")
    save_thumbnails(run.root / FOLDER, [(picture(1), "mine")], captions_only=True)
    _, body = card_of(run)
    assert f"]({FOLDER}/" not in body
    assert "on 1 picture." in body


def test_several_concepts_are_told_with_their_triggers_and_virtual_ones_are_not(tmp_path):
    run = write_run(tmp_path / "pack")
    facts = read_facts(run)
    concepts = [
        ConceptConfig(folder=tmp_path, trigger="style_00", phrase="purple, lineart"),
        ConceptConfig(folder=tmp_path, trigger="style_01"),
        ConceptConfig(folder=tmp_path, trigger="varied", virtual=True),
    ]
    card = render_card(replace(facts, config=facts.config.model_copy(update={"concepts": tuple(concepts)})), run)
    table = "| trigger | phrase |\n|---|---|\n| style\\_00 | purple, lineart |\n| style\\_01 |  |\n"
    assert table in card
    assert "write `style_00` or `style_01` in the prompt" in card
    assert "varied" not in card.partition("## Training")[0]


@pytest.mark.parametrize(
    ("kind", "what"), [("lora_ga", "gradient"), ("pissa", "weight"), ("olora", "weight"), ("eva", "inputs")]
)
def test_the_start_is_told_by_what_it_holds(tmp_path, kind, what):
    run = write_run(tmp_path / "mug", "adapter.rank=4", f'adapter.init.kind="{kind}"')
    shares = (0.8, 0.9999, 0.991, 1.0000001, 0.5)
    run.start.write_text(json.dumps({f"layer{i}": {"norm": 2.0, "energy": e} for i, e in enumerate(shares)}))
    expected = f"holds 50 to 100 % of each layer's squared {what} (median 99.1 %)"
    assert f"- Start: {expected}\n" in render_card(read_facts(run), run)
    assert expected in render(read_facts(run)).replace("&#39;", "'")
    run.start.write_text("[1]")
    facts = read_facts(run)
    assert any("start.json is damaged" in problem for problem in facts.problems)
    assert "- Start" not in render_card(facts, run)


def banked(run: RunDir, *triggers: str, prompts: tuple[str, ...]) -> Facts:
    """A finished run as a bank, with both files of each concept."""
    for path in run.export.iterdir():
        path.unlink()
    for trigger in triggers:
        name = trigger.replace(" ", "-")
        export(run.export / name / f"{run.root.name}-{name}.safetensors", {"maquette.dialect": "kohya"})
        export(run.export / name / "pytorch_lora_weights.safetensors", {"maquette.dialect": "diffusers"})
    facts = read_facts(run)
    concepts = [ConceptConfig(folder=run.root, trigger=trigger) for trigger in triggers]
    parts = {
        "adapter": facts.config.adapter.model_copy(update={"bank": True}),
        "concepts": tuple(concepts),
        "data": facts.config.data.model_copy(update={"trigger": None}),
        "preview": facts.config.preview.model_copy(update={"prompts": prompts}),
    }
    return replace(facts, config=facts.config.model_copy(update=parts))


@pytest.mark.parametrize(
    ("prompt", "name"), [("a photo of SKS dog on the beach", "sks-dog"), ("a sks", "sks"), ("a mug", "mug")]
)
def test_the_lines_of_a_bank_are_all_for_the_concept_that_their_prompt_names(tmp_path, prompt, name):
    run = write_run(tmp_path / "things")
    facts = banked(run, "sks", "sks dog", "mug", prompts=(prompt, "a mug"))
    card = render_card(facts, run)
    for told in (card, render(facts).replace("&#34;", '"').replace("</code>", "\n")):
        assert f'maquette generate "{prompt}" --adapter things/export/{name}\n' in told
        assert f'load_lora_weights("things", subfolder="export/{name}", weight_name=' in told
        assert f"Put things-{name}.safetensors into models/loras" in told
        first, second = (f"export/{other}" for other in ("mug", "sks", "sks-dog") if other != name)
        assert f"Takes the folder of a concept, or a file. Those of the others are {first} and {second}." in told
    assert {word for word in ("mug", "sks", "sks-dog") if f"things-{word}.safetensors" in card} == {name}
