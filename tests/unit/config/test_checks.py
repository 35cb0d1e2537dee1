"""Each contradiction, and beside it the nearest configuration that is none."""

import pytest

from maquette.config.load import load_config
from maquette.errors import ConfigError

# What is set, the key that is blamed, words of the reason, and what makes it right (in place of the last settings).
CASES = [
    (["model.base=x.safetensors", "model.revision=main"], "model.revision", "single-file", ["model.base=a/b"]),
    (["model.base=x.safetensors", "model.variant=fp16"], "model.variant", "single-file", ["model.base=a/b"]),
    (["model.tokenizer=a/b"], "model.tokenizer", "single-file", ["model.base=x.safetensors"]),
    (["model.precision=fp16", "training.device=cpu"], "model.precision", "CPU", ["training.device=cuda"]),
    (["adapter.kind=full", "model.quantize=nf4"], "model.quantize", "adapter.kind", ["adapter.kind=dora"]),
    (["data.folder=a", "data.dataset=b"], "data.dataset", "keep one", None),
    (["data.split=train"], "data.split", "data.dataset", ["data.dataset=b"]),
    (["data.image_column=x"], "data.image_column", "data.dataset", ["data.dataset=b"]),
    (['concepts=[{folder="a"}]', "data.folder=b"], "data.folder", "[[concepts]]", None),
    (['concepts=[{folder="a"}]', "data.prompt=b"], "data.prompt", "[[concepts]]", None),
    (['concepts=[{folder="a"}]', "data.repeats=2"], "data.repeats", "[[concepts]]", None),
    (["data.prompt=a [trigger]"], "data.prompt", "data.trigger", ["data.trigger=sks"]),
    (["data.prompt=a dog", "data.trigger=sks"], "data.trigger", "data.prompt", ["data.prompt=a sks dog"]),
    (['concepts=[{folder="a", prompt="a [trigger]"}]'], "concepts.0.prompt", "concepts.0.trigger", None),
    (["data.captions.keep_tokens=1"], "data.captions.keep_tokens", "shuffle", ["data.captions.shuffle=true"]),
    (["data.size=[512, 512]"], "data.size", "data.buckets = false", ["data.buckets=false"]),
    (
        ["data.buckets=false", "data.size=[512, 512]", "data.resolution=512"],
        "data.resolution",
        "keep one",
        None,
    ),
    (["data.buckets=false", "data.size=[510, 512]"], "data.size", "multiples of 8", None),
    (["data.masks=folder"], "data.masks", "data.mask_folder", ["data.mask_folder=m"]),
    (["data.mask_folder=m"], "data.mask_folder", 'data.masks = "folder"', ["data.masks=folder"]),
    (["data.cache.views=4"], "data.cache.views", "data.flip", ["data.flip=true"]),
    (["data.cache.latents=false", "data.cache.dir=x"], "data.cache.dir", "data.cache.latents", None),
    (["class_images={}"], "class_images", "needs a prompt", ["class_images.prompt=a dog"]),
    (
        ["class_images.folder=x", "class_images.count=9"],
        "class_images.count",
        "class_images.prompt",
        ["class_images.prompt=a dog"],
    ),
    (
        ['concepts=[{folder="a", class_prompt="a dog"}]'],
        "concepts.0.class_prompt",
        "[class_images]",
        ["class_images={}"],
    ),
    (['concepts=[{folder="a"}]', "class_images={}"], "class_images", "no concept", None),
    (['concepts=[{folder="a"}]', "class_images.prompt=x"], "class_images.prompt", "class_prompt", None),
    (["text_encoder.lr=1e-5"], "text_encoder.lr", "no effect", ["text_encoder.train=lora"]),
    (["text_encoder.rank=4"], "text_encoder.rank", "no effect", ["text_encoder.train=lora"]),
    (['text_encoder.targets=["q_proj"]'], "text_encoder.targets", "no effect", ["text_encoder.train=lora"]),
    (["text_encoder.stop=0.5"], "text_encoder.stop", "no effect", ["text_encoder.train=lora"]),
    (["text_encoder.stop_step=5"], "text_encoder.stop_step", "no effect", ["text_encoder.train=lora"]),
    (
        ["text_encoder.train=lora", "text_encoder.stop=0.001"],
        "text_encoder.stop",
        "less than a step",
        ["text_encoder.stop=0.1"],
    ),
    (
        ["text_encoder.train=lora", "text_encoder.stop=0.5", "text_encoder.stop_step=9"],
        "text_encoder.stop",
        "keep one",
        None,
    ),
    (["text_encoder.train=full"], "text_encoder.train", "beside an adapter", ["adapter.kind=full"]),
    (["adapter.kind=none"], "adapter.kind", "[tokens]", ["tokens={}"]),
    (["tokens={}", "adapter.kind=full"], "adapter.kind", "go with an adapter", ["adapter.kind=dora"]),
    (["tokens={}", "text_encoder.train=lora"], "text_encoder.train", "new tokens", ["text_encoder.train=none"]),
    (["tokens.placeholders={}"], "tokens.placeholders", "is empty", ["tokens.placeholders={TOK=1}"]),
    (['tokens.placeholders={"a mug"=1}'], "tokens.placeholders", "'a mug'", ["tokens.placeholders={a-mug=1}"]),
    (["tokens.placeholders={TOK=1, tok=1}"], "tokens.placeholders", "capitals", ["tokens.placeholders={TOK=1, HAT=1}"]),
    (["tokens.words={TOK='mug'}"], "tokens.words", 'init = "word"', ["tokens.init=word"]),
    (["tokens.init=word"], "tokens.words", "differ in TOK", ["tokens.words={TOK='mug'}"]),
    (["tokens.stop=0.001"], "tokens.stop", "0.001 of a run of 400 steps", ["tokens.stop=0.1"]),
    # Half of one step: the share is the one that stands where none is named, and a single step needs the whole run.
    (["tokens={}", "training.steps=1"], "tokens.stop", "0.5 of a run of 1 step:", ["tokens={}", "tokens.stop=1.0"]),
    (["tokens={}", "training.steps=1"], "tokens.stop", "or training.steps", ["training.steps=2"]),
    (["tokens.stop=0.5", "tokens.stop_step=9"], "tokens.stop", "keep one", None),
    (["tokens.stop=0.5", "adapter.kind=none"], "tokens.stop", "nothing to train", ["tokens.stop=1.0"]),
    (["tokens.stop_step=5", "adapter.kind=none"], "tokens.stop_step", "nothing to train", ["adapter.kind=lora"]),
    (["optimizer.kind=prodigy", "tokens.lr=0.1"], "tokens.lr", "Prodigy", ["tokens.lr=1.0"]),
    (
        ["tokens={}", "preservation.class_prompt=TOK"],
        "preservation.class_prompt",
        "says TOK",
        ["preservation.class_prompt=mug"],
    ),
    (
        ["tokens={}", "adapter.kind=none", "preservation.class_prompt=mug"],
        "preservation",
        "no effect",
        ["adapter.kind=lora"],
    ),
    (["tokens={}", "class_images.prompt=a TOK"], "class_images.prompt", "says TOK", ["class_images.prompt=a mug"]),
    (["adapter.kind=full", "text_encoder.train=lora"], "text_encoder.train", "full", ["text_encoder.train=full"]),
    (
        ["adapter.kind=full", "text_encoder.train=full", "text_encoder.rank=4"],
        "text_encoder.rank",
        "no effect",
        None,
    ),
    (
        ["optimizer.kind=prodigy", "text_encoder.train=lora", "text_encoder.lr=0.5"],
        "text_encoder.lr",
        "Prodigy",
        ["text_encoder.lr=1.0"],
    ),
    (
        ["optimizer.kind=schedule_free", "schedule.kind=cosine"],
        "schedule.kind",
        "schedule_free",
        ["schedule.kind=constant"],
    ),
    (["schedule.warmup_steps=50", "training.steps=50"], "schedule.warmup_steps", "only 50", ["training.steps=51"]),
    (["output.single_file=true"], "output.single_file", "full", ["adapter.kind=full"]),
    (['logging.trackers=["wandb", "wandb"]'], "logging.trackers", "twice", ['logging.trackers=["wandb"]']),
    # Keys of another kind are unknown to the chosen one.
    (["adapter.kind=full", "adapter.lora_alpha=4.0"], "adapter.lora_alpha", "kinds lora, dora, loha, lokr", None),
    (["adapter.kind=full", "adapter.dropout=0.1"], "adapter.dropout", "kinds lora", None),
    (["adapter.kind=full", "adapter.rank_pattern={a=1}"], "adapter.rank_pattern", "kinds lora", None),
    (["adapter.kind=loha", "adapter.rslora=true"], "adapter.rslora", "kinds lora, dora", ["adapter.kind=lora"]),
    (["optimizer.d_coef=2.0"], "optimizer.d_coef", "kind prodigy", ["optimizer.kind=prodigy"]),
    (["loss.weighting.gamma=5.0"], "loss.weighting.gamma", "kind min_snr", ["loss.weighting.kind=min_snr"]),
    (["schedule.cycles=3"], "schedule.cycles", "cosine_with_restarts", ["schedule.kind=cosine_with_restarts"]),
]


def replaced(sets: list[str], cure: list[str]) -> list[str]:
    """The settings with the cure's in place of those of the same key."""
    cured = {each.partition("=")[0] for each in cure}
    return [each for each in sets if each.partition("=")[0] not in cured] + cure


@pytest.mark.parametrize(("sets", "path", "words", "cure"), CASES, ids=[case[1] + " " + case[0][-1] for case in CASES])
def test_a_contradiction_is_an_error_with_its_key_and_cure(
    sets: list[str], path: str, words: str, cure: list[str] | None
):
    with pytest.raises(ConfigError) as refusal:
        load_config(sets=sets)
    message = str(refusal.value)
    assert f": {path} " in message
    assert words in message
    assert "--set" in message
    if cure is not None:
        load_config(sets=replaced(sets, cure))


def test_all_contradictions_are_told_at_once():
    with pytest.raises(ConfigError, match=r"^3 problems:\n") as refusal:
        load_config(sets=["text_encoder.lr=1e-5", "output.single_file=true", "data.mask_folder=m"])
    assert str(refusal.value).count("\n") == 3


def test_the_schema_refuses_contradictions_without_the_loader_too():
    from pydantic import ValidationError

    from maquette import RunConfig

    with pytest.raises(ValidationError, match=r"text_encoder\.lr has no effect"):
        RunConfig.model_validate({"text_encoder": {"lr": 1e-4}})
