"""The command line in-process: what it prints, and with which code it ends."""

import tomllib
from pathlib import Path

import pytest

import maquette
from maquette.cli.app import main
from maquette.cli.train import read_settings
from maquette.config import presets as packaged
from maquette.config.load import load_config
from maquette.config.schema import RunConfig
from maquette.errors import DataError, Interrupted


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"maquette {maquette.__version__}\n"


@pytest.mark.parametrize("command", [[], ["--help"], ["train", "--help"], ["world"]])
def test_help_is_shown_where_it_is_meant(command: list[str], capsys: pytest.CaptureFixture[str]):
    code = main(command)
    shown = capsys.readouterr()
    assert "Usage:" in shown.out
    assert shown.err == ""
    assert code == (0 if "--help" in command else 2)


def test_config_prints_what_the_arguments_come_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos = tmp_path / "photos"
    photos.mkdir()
    arguments = [str(photos), "--prompt", "a photo of sks dog", "--base", "sd", "--preset", "sd1-subject-lora"]
    assert main(["config", *arguments, "--set", "training.steps=7", "--out", str(tmp_path / "out")]) == 0
    printed = RunConfig.model_validate(tomllib.loads(capsys.readouterr().out))
    assert printed.data.folder == photos
    assert printed.data.prompt == "a photo of sks dog"
    assert printed.model.base == "sd"
    assert printed.output.dir == tmp_path / "out"
    assert (printed.adapter.rank, printed.training.steps) == (4, 7)


def test_a_warning_of_the_library_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert (
        main(["config", "--preset", "sd1-face-lora", "--set", "adapter.kind=full", "--set", "text_encoder.train=none"])
        == 2
    )
    assert main(["config", "--preset", "sd1-subject-lora", "--set", "adapter.kind=full"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == 'warning: --set: adapter replaces "lora" with "full"; no longer set: adapter.rank'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["train", "--rank", "3"], "No such option"),
        (["train", "--prompt"], "requires an argument"),
        (["train"], "no pictures to learn from"),
        (["train", "nowhere/"], "SOURCE nowhere: does not exist; give a folder, or a TOML file"),
        (["train", "run.toml"], "run.toml: there is no such file. `maquette init run.toml` writes one"),
        (["train", "photo.png"], "is not a folder of pictures"),
        (["train", "--resume"], "--resume: which run?"),
        (["train", "--out", "none", "--resume"], "none/config.toml: there is no such file"),
        (["train", ".", "--device", "gpu"], '--device: training.device = "gpu" should be "auto", "cpu"'),
        (["train", ".", "--prompt", ""], '--prompt: data.prompt = "" should be a text that is not empty'),
        (["train", ".", "--set", "rank"], "--set rank: is not of the form section.key=value"),
        (["train", ".", "--set", "adapter.alpha=3"], "Did you mean adapter.lora_alpha?"),
        (["train", ".", "--preset", "sd3"], 'there is no preset "sd3"'),
        (["config", ".", "--set", "text_encoder.lr=1"], "--set text_encoder.lr: text_encoder.lr has no effect"),
        (["presets", "sdxl-face"], 'Did you mean "sdxl-face-lora"?'),
        (["init", "taken.toml"], "taken.toml: exists already"),
        (["init", "none/run.toml"], "none/run.toml: cannot be written: No such file or directory"),
    ],
)
def test_a_mistake_ends_in_one_paragraph_and_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    (tmp_path / "taken.toml").write_text("mine")
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert (tmp_path / "taken.toml").read_text() == "mine"


def test_init_writes_a_file_that_trains_as_the_preset_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "run.toml"
    assert main(["init", str(file), "--preset", "sdxl-face-lora"]) == 0
    assert "maquette train" in capsys.readouterr().out
    assert load_config(file) == load_config(preset="sdxl-face-lora")
    assert file.read_text().startswith("# Settings for `maquette train run.toml`")


def test_presets_are_listed_and_printed(capsys: pytest.CaptureFixture[str]):
    assert main(["presets"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == packaged.preset_names()
    assert main(["presets", "sd1-face-lora"]) == 0
    assert capsys.readouterr().out == packaged.preset_text("sd1-face-lora")


def test_the_run_folder_is_named_for_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my dog").mkdir()
    (tmp_path / "both.toml").write_text("[[concepts]]\nfolder = 'a'\n")

    def out_of(source: Path | None, out: Path | None = None, *sets: str) -> Path:
        return read_settings(source, None, None, out, None, None, list(sets))[1]

    assert out_of(Path("my dog")) == Path("runs/my dog")
    assert out_of(Path("my dog/")) == Path("runs/my dog")
    assert out_of(Path("both.toml")) == Path("runs/both")
    assert out_of(Path("my dog"), Path("here")) == tmp_path / "here"
    assert out_of(None, None, "data.dataset=someone/icons") == Path("runs/icons")


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (DataError("photos/1.png: is torn."), 2, "error: photos/1.png: is torn.\n"),
        (Interrupted("saved at step 7."), 130, "saved at step 7.\n"),
        (KeyboardInterrupt(), 130, "interrupted.\n"),
    ],
)
def test_what_is_raised_decides_the_code(
    raised: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> list[str]:
        raise raised

    monkeypatch.setattr(packaged, "preset_names", fail)
    assert main(["presets"]) == code
    assert capsys.readouterr().err == words


def test_a_fault_of_ours_is_one_sentence_and_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> list[str]:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(packaged, "preset_names", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["presets"]) == 1
    said = capsys.readouterr().err
    (log,) = tmp_path.glob("maquette-*.log")
    assert said == (
        f"error: ZeroDivisionError: on purpose\nThis is a fault of maquette. The full account is in {log}\n"
    )
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError: on purpose" in log.read_text()
