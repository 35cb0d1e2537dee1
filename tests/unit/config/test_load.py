from pathlib import Path

import pytest

from maquette.config.load import load_config, require_pictures
from maquette.errors import ConfigError


def written(folder: Path, text: str, name: str = "run.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def refusal(file: Path | None = None, **arguments: object) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(file, **arguments)
    return str(error.value)


def test_each_layer_lies_over_the_ones_before(tmp_path: Path):
    file = written(
        tmp_path, '[model]\nbase = "from-file"\n[training]\nseed = 2\nbatch_size = 2\n[data]\nprompt = "file"\n'
    )
    preset = "sd1-face-lora"  # seed 1126, batch 2, rank 32, lora_alpha 16
    layered = load_config(
        file, preset=preset, flags={"--prompt": "flag"}, sets=["training.seed=4", "adapter.dropout=0.1"]
    )
    assert layered.adapter.rank == 32  # preset
    assert layered.model.base == "from-file"  # file over preset
    assert layered.data.prompt == "flag"  # flag over file
    assert layered.training.seed == 4  # --set over file
    assert (layered.adapter.lora_alpha, layered.adapter.dropout) == (16.0, 0.1)  # one section from two layers
    assert load_config(file, preset=preset).training.seed == 2
    assert load_config(preset=preset).training.seed == 1126
    assert load_config().training.seed == 0
    assert load_config(flags={"--base": "f"}, sets=["model.base=s"]).model.base == "s"


def test_a_flag_that_was_not_given_sets_nothing(tmp_path: Path):
    file = written(tmp_path, '[data]\nprompt = "file"\n')
    assert load_config(file, flags={"--prompt": None, "--out": None}).data.prompt == "file"


def test_paths_in_a_file_start_at_the_file_and_others_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "base").mkdir()
    text = '[model]\nbase = "base"\nvae = "a/hub-id"\n[[concepts]]\nfolder = "one"\n[[concepts]]\nfolder = "/two"\n'
    file = written(tmp_path / "there", text)
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("there/run.toml"), sets=["output.dir=out", "data.cache.dir=~/cache"])
    assert config.model.base == str(tmp_path / "there" / "base")
    assert config.model.vae == "a/hub-id"  # no such folder, so it is a name
    assert [concept.folder for concept in config.concepts] == [tmp_path / "there" / "one", Path("/two")]
    assert config.output.dir == tmp_path / "out"
    assert config.data.cache.dir == Path.home() / "cache"
    assert load_config(file, sets=["output.dir=out"]).model == config.model


def test_another_kind_starts_its_section_afresh_and_says_so(caplog: pytest.LogCaptureFixture):
    config = load_config(preset="sd1-face-lora", sets=["adapter.kind=loha", "schedule.kind=constant"])
    assert (config.adapter.kind, config.adapter.rank) == ("loha", 16)
    assert config.schedule.warmup_steps == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "no longer set: adapter.rank, adapter.lora_alpha" in caplog.text
    assert "no longer set: schedule.cycles, schedule.warmup_steps" in caplog.text


def test_naming_the_same_kind_keeps_the_section(caplog: pytest.LogCaptureFixture):
    config = load_config(preset="sd1-face-lora", sets=["adapter.kind=lora"])
    assert config.adapter.rank == 32
    assert caplog.records == []


def test_the_order_of_sets_of_one_section_does_not_matter():
    one = load_config(sets=["adapter.kind=dora", "adapter.rank=8"])
    other = load_config(sets=["adapter.rank=8", "adapter.kind=dora"])
    assert one == other
    assert (one.adapter.kind, one.adapter.rank) == ("dora", 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a dog", "a dog"), ('"a dog"', "a dog"), ("3 dogs", "3 dogs"), ("a=b", "a=b"), ("[trigger", "[trigger")],
)
def test_what_is_not_toml_is_plain_text(text: str, value: str):
    sets = [f"data.prompt={text}"]
    assert load_config(sets=sets).data.prompt == value


def test_sets_take_arrays_tables_and_numbers():
    config = load_config(
        sets=["preview.prompts=['a', 'b']", "loss.weighting={kind='min_snr', gamma=3.0}", "training.steps=7"]
    )
    assert config.preview.prompts == ("a", "b")
    assert config.loss.weighting.gamma == 3.0
    assert config.training.steps == 7


@pytest.mark.parametrize("text", ["training.seed", "=3", "training.seed 3"])
def test_a_set_without_key_or_value_is_refused(text: str):
    assert f"--set {text}: is not of the form section.key=value" in refusal(sets=[text])


def test_a_key_that_is_set_twice_is_refused():
    assert "--set training.seed: is given twice" in refusal(sets=["training.seed=1", "training.seed=2"])


def test_a_key_under_a_plain_value_is_refused():
    assert "--set training.ema: cannot be set beside training" in refusal(sets=["training=3", "training.ema=1"])


def test_every_problem_of_a_file_is_told_with_its_line(tmp_path: Path):
    file = written(
        tmp_path,
        """\
        learning_rate = 1e-4
        [training]
        steps = "many"  # not a number
        batch_size = 0
        [adapter]
        rnk = 32
        alpha = 16
        [data]
        crop = "middle"
        captions.shufle = true
        [loss]
        weighting = { kind = "min_snr", gama = 5 }
        [[concepts]]
        folder = "a"
        [[concepts]]
        prompt = "x"
        """,
    )
    lines = refusal(file, sets=["training.seed=-1"]).splitlines()
    expected = [
        (1, "learning_rate", "optimizer.lr"),
        (3, "training.steps", 'should be a whole number or "auto"'),
        (4, "training.batch_size = 0", "should be at least 1"),
        (6, "adapter.rnk", "Did you mean adapter.rank?"),
        (7, "adapter.alpha", "Did you mean adapter.lora_alpha?"),
        (9, 'data.crop = "middle"', 'should be "center" or "random"'),
        (10, "data.captions.shufle", "Did you mean data.captions.shuffle?"),
        (12, "loss.weighting.gama", "Did you mean loss.weighting.gamma?"),
        (15, "concepts.1.folder", "is required"),
    ]
    assert lines[0] == "10 problems:"
    assert len(lines) == 11
    for line, (number, key, words) in zip(lines[1:], expected, strict=False):
        assert line.startswith(f"  {file}:{number}: {key}")
        assert words in line
    assert lines[-1] == "  --set training.seed: training.seed = -1 should be at least 0."


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.steps=3", "train is not a section. Did you mean training?"),
        ("training.lr=1", "Did you mean optimizer.lr?"),
        ("training.learning_rate=1", "Did you mean optimizer.lr?"),
        ("adapter.network_dim=1", "Did you mean adapter.rank?"),
        ("adapter.alpha=1", "Did you mean adapter.lora_alpha?"),
        ("text_encoder.alpha=1", "Did you mean text_encoder.lora_alpha?"),
        ("network_alpha=1", "Did you mean adapter.lora_alpha?"),
        ("optimizer.adam_beta1=0.9", "Did you mean optimizer.betas?"),
        ("training.train_batch_size=1", "Did you mean training.batch_size?"),
        ("training.max_train_steps=1", "Did you mean training.steps?"),
        ("training.min_snr_gamma=5", 'Did you mean loss.weighting.gamma (loss.weighting.kind = "min_snr")?'),
        ("training.epochs=1", "It is refused: lengths are in optimizer steps; see training.steps."),
        ("training.push_to_hub=true", "It is not needed:"),
        ("data.token_abstraction=TOK", "Did you mean tokens.placeholders?"),
        ("data.flop=true", "Did you mean data.flip?"),
        ("loss.weighting.kind=minsnr", 'Did you mean "min_snr"? Known: uniform, uniform_x0, edm, min_snr'),
        ("adapter.kind=locon", "Known: lora, dora, loha, lokr, full, none."),
        ("optimizer.kind=AdamW", 'Did you mean "adamw"?'),
        ("training.zzz=1", "Known in [training]: steps, batch_size"),
        ("zzz.a=1", "The sections are: model, data"),
        ("adapter.rank=0", "adapter.rank = 0 should be at least 1"),
        ("adapter.rank=4.5", "adapter.rank = 4.5 should be a whole number"),
        ("adapter.dropout=1.0", "should be less than 1"),
        ("training.max_grad_norm=-1", "should be at least 0"),
        ("training.gradient_checkpointing=yes", 'gradient_checkpointing = "yes" should be true or false'),
        ("optimizer.lr=fast", 'optimizer.lr = "fast" should be a number'),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer.betas.1 = 1.0 should be less than 1"),
        ("data.resolution=100", "should be a multiple of 8"),
        ("data.folder=3", "data.folder = 3 should be a path"),
        ("data.folder=", "should be a text that is not empty"),
        ("preview.prompts=a dog", 'preview.prompts = "a dog" should be an array'),
        ("preview.prompts=['']", "preview.prompts.0"),
        ("training=3", "training = 3 should be a table"),
        ("training.ema=true", "training.ema = true should be a table"),
        ("adapter=lora", 'adapter = "lora" should be a table'),
        ("model.precision=fp8", 'should be "auto", "fp32", "bf16" or "fp16"'),
        ("adapter.targets=everything", 'or "attention+feed_forward+convolutions" or an array'),
        ("adapter.rank_pattern={a=0}", "adapter.rank_pattern.a = 0 should be at least 1"),
        ("logging.trackers=['visualdl']", 'should be "tensorboard", "wandb" or "mlflow"'),
    ],
)
def test_a_mistake_is_answered_with_its_cure(setting: str, words: str):
    message = refusal(sets=[setting])
    assert words in message
    assert message.startswith(f"--set {setting.partition('=')[0]}: ")
    assert "\n" not in message


def test_a_key_of_one_kind_under_another_default_names_the_preset(tmp_path: Path):
    file = written(tmp_path, "[adapter]\nrank = 8\n")
    message = refusal(file, preset="sd1-subject-full")
    assert message.startswith(f'{file}:2: adapter.rank is not a key of adapter.kind = "full". It belongs to the kinds')


def test_files_that_cannot_be_read_are_explained(tmp_path: Path):
    assert "there is no such file" in refusal(tmp_path / "none.toml")
    assert "is not TOML" in refusal(written(tmp_path, "prompt = a dog\n"))
    binary = tmp_path / "picture.toml"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    assert "cannot be read as text" in refusal(binary)
    assert "cannot be read as text" in refusal(tmp_path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbf[training]\nseed = 5\n")
    assert load_config(file).training.seed == 5


def test_a_run_needs_pictures():
    with pytest.raises(ConfigError, match="no pictures to learn from"):
        require_pictures(load_config())
    require_pictures(load_config(sets=["data.folder=x"]))
    require_pictures(load_config(sets=["data.dataset=x"]))
    require_pictures(load_config(sets=["concepts=[{folder='x'}]"]))


def test_an_unknown_preset_is_answered_with_the_nearest():
    assert 'Did you mean "sdxl-face-lora"?' in refusal(preset="sdxl-face")
