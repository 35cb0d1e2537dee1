"""Where a run keeps what, and what counts as one."""

import os
from pathlib import Path

import pytest

from maquette.errors import CheckpointError, ConfigError
from maquette.runs.files import replacing, write_text
from maquette.runs.rundir import RunDir, check_new, create_run, open_run


def test_a_new_run_takes_an_absent_or_empty_folder(tmp_path):
    assert create_run(tmp_path / "runs" / "dog").root.is_dir()
    assert create_run(tmp_path / "runs" / "dog") == RunDir(tmp_path / "runs" / "dog")


def test_a_new_run_takes_no_folder_that_holds_something(tmp_path):
    for name in ("b.txt", "a.png", "d", "c"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty: it holds a\.png, b\.txt, c, \.\.\.\. Empty it"):
        create_run(tmp_path)


def test_a_new_run_over_an_old_one_says_how_to_continue_it(tmp_path):
    write_text(create_run(tmp_path).config, "")
    with pytest.raises(ConfigError, match=r"holds config\.toml\. Continue that run with --resume, or name another"):
        create_run(tmp_path)


def test_a_file_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "dog").write_text("")
    with pytest.raises(ConfigError, match=r"output\.dir: .*dog cannot be used as a run's folder"):
        create_run(tmp_path / "dog")


def test_looking_whether_a_run_may_have_a_folder_makes_none(tmp_path, monkeypatch):
    check_new(tmp_path / "runs" / "dog")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/runs/dog cannot be used as a run's folder \(Not a directory\)"):
        check_new(tmp_path / "file" / "runs" / "dog")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"dog cannot be used as a run's folder \(Permission denied\)"):
        check_new(tmp_path / "runs" / "dog")


def test_only_a_folder_with_a_configuration_is_a_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no run: config\.toml is not there"):
        open_run(tmp_path)
    write_text(tmp_path / "config.toml", "")
    assert open_run(tmp_path).config == tmp_path / "config.toml"


def test_everything_is_inside_the_folder_and_named_once():
    run = RunDir(Path("runs/dog"))
    paths = [
        run.config,
        run.versions,
        run.events,
        run.checkpoints,
        run.class_images,
        run.previews,
        run.export,
        run.card,
        run.report,
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.parent == run.root for path in paths)


def test_previews_sort_by_step_and_events_name_them_relatively():
    run = RunDir(Path("runs/dog"))
    names = [run.preview(step, 0, 0).name for step in (0, 90, 100, 2000)]
    assert names == sorted(names)
    assert run.relative(run.preview(100, 1, 7)) == "previews/step-000100-prompt-01-seed-7.png"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "config.toml"
    write_text(file, "a = 1\n")

    def fail_midway() -> None:
        with replacing(file) as temporary:
            temporary.write_text("a = ")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert file.read_bytes() == b"a = 1\n"
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]
    write_text(file, "a = 2\r\n")
    assert file.read_bytes() == b"a = 2\r\n"
