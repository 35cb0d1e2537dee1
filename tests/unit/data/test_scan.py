import json
import sys

import numpy as np
import pytest
from PIL import Image

from maquette.data.sample import Scan, Source
from maquette.data.scan import scan
from maquette.errors import DataError, MissingDependencyError


def kinds(found: Scan, level: str) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.names for finding in found.findings if finding.level == level}


def captions(found: Scan) -> dict[str, str]:
    return {sample.name: sample.caption for sample in found.samples}


def write(folder, name: str, text: str, encoding: str = "utf-8"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding=encoding)


def test_flat_folder_with_caption_files(tmp_path, paint):
    paint("b.jpg", seed=1)
    paint("a.PNG", (48, 80), seed=2)
    write(tmp_path, "a.txt", "\ufeffa dog,\n on  grass \n")
    write(tmp_path, "b.caption", "a dog in snow")
    found = scan(Source(tmp_path))
    assert captions(found) == {"a.PNG": "a dog, on grass", "b.jpg": "a dog in snow"}
    assert [sample.size for sample in found.usable()] == [(48, 80), (64, 64)]
    assert found.findings == ()


def test_every_problem_is_reported_at_once_and_by_name(tmp_path, paint):
    paint("good.png", seed=1)
    paint("bare.png", seed=2)
    write(tmp_path, "good.txt", "a dog")
    (tmp_path / "cut.jpg").write_bytes(paint("whole/x.jpg", seed=3).read_bytes()[:300])
    (tmp_path / "whole/x.jpg").unlink()
    write(tmp_path, "text.webp", "no picture")
    write(tmp_path, "latin.txt", "caf\xe9", encoding="latin-1")
    paint("latin.png", seed=4)
    write(tmp_path, "both.txt", "one")
    write(tmp_path, "both.caption", "two")
    paint("both.png", seed=5)
    with pytest.raises(DataError) as error:
        scan(Source(tmp_path)).usable()
    for name in ("cut.jpg", "text.webp", "bare.png", "latin.txt", "both"):
        assert name in str(error.value)
    assert "good.png" not in str(error.value)


def test_litter_is_ignored_and_strange_files_are_named(tmp_path, paint):
    paint("a.png")
    write(tmp_path, "a.txt", "a dog")
    for litter in ("__MACOSX/._a.png", ".DS_Store", ".hidden/b.png", "Thumbs.db", "desktop.ini", "a.npz"):
        write(tmp_path, litter, "litter")
    write(tmp_path, "film.mp4", "x")
    write(tmp_path, "notes/README.txt", "x")
    found = scan(Source(tmp_path))
    assert [sample.name for sample in found.usable()] == ["a.png"]
    assert kinds(found, "warning") == {"unknown": ("film.mp4",), "caption-orphan": ("notes/README.txt",)}


def test_metadata_jsonl(tmp_path, paint):
    paint("train/a.png", seed=1)
    paint("train/deep/b.png", seed=2)
    paint("test/c.png", seed=3)
    rows = [{"file_name": "a.png", "text": "first"}, {"file_name": "deep/b.png", "text": "second"}]
    write(tmp_path, "train/metadata.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    found = scan(Source(tmp_path))
    assert captions(found) == {"train/a.png": "first", "train/deep/b.png": "second"}
    assert kinds(found, "warning") == {"split": ("test/",)}


@pytest.mark.parametrize("column", ["caption", "prompt", "mine"])
def test_metadata_csv_and_its_caption_column(tmp_path, paint, column):
    paint("a.png")
    write(tmp_path, "metadata.csv", f'file_name,{column}\na.png,"a dog, on grass"\n')
    wanted = column if column == "mine" else None
    assert captions(scan(Source(tmp_path, caption_column=wanted))) == {"a.png": "a dog, on grass"}


def test_broken_metadata_names_each_line(tmp_path, paint):
    paint("a.png")
    lines = ['{"file_name": "a.png", "text": "ok"}', "{oops", '{"text": "x"}', '{"file_name": "gone.png", "text": "x"}']
    lines += ['{"file_name": "a.png", "text": "again"}', '{"file_name": "a.png", "text": 3}', "[1]"]
    write(tmp_path, "metadata.jsonl", "\n".join(lines))
    (finding,) = [f for f in scan(Source(tmp_path)).findings if f.level == "error"]
    assert [name.split()[1] for name in finding.names] == ["2", "3", "4", "5", "6", "7"]
    for part, name in zip(
        ("no JSON", "file_name", "not exist", "second time", "no text", "braces"), finding.names, strict=True
    ):
        assert part in name


def test_metadata_without_the_column_says_which_there_are(tmp_path, paint):
    paint("a.png")
    write(tmp_path, "metadata.jsonl", '{"file_name": "a.png", "description": "x"}')
    with pytest.raises(DataError, match=r"it has file_name, description\. .*data.caption_column"):
        scan(Source(tmp_path)).usable()


def test_metadata_wins_over_caption_files_with_a_warning(tmp_path, paint):
    paint("a.png")
    write(tmp_path, "a.txt", "beside")
    write(tmp_path, "metadata.jsonl", '{"file_name": "a.png", "text": "listed"}')
    found = scan(Source(tmp_path))
    assert captions(found) == {"a.png": "listed"}
    assert kinds(found, "warning") == {"captions-ignored": ("a.png",)}


def test_kohya_folders(tmp_path, paint):
    paint("img/10_sks dog/a.png", seed=1)
    paint("img/3_sks dog running/b.png", seed=2)
    write(tmp_path, "img/3_sks dog running/b.txt", "its own words")
    paint("reg/1_dog/c.png", seed=3)
    found = scan(Source(tmp_path, repeats=2))
    assert [(s.caption, s.repeats, s.is_class) for s in found.usable()] == [
        ("sks dog", 20, False),
        ("its own words", 6, False),
        ("dog", 2, True),
    ]


def test_prompt_and_trigger_of_a_kohya_folder_leave_its_class_images_alone(tmp_path, paint):
    paint("img/1_sks dog/a.png", seed=1)
    paint("reg/1_dog/c.png", seed=3)
    found = scan(Source(tmp_path, prompt="a photo of [trigger]", trigger="sks"))
    assert [sample.caption for sample in found.usable()] == ["a photo of sks", "dog"]


@pytest.mark.parametrize(
    ("folders", "named"), [(["10_sks dog", "others"], "others"), (["2023_summer"], "2023_summer"), (["0_sks"], "0_sks")]
)
def test_folder_names_that_are_only_half_kohya_are_refused(tmp_path, paint, folders, named):
    for seed, folder in enumerate(folders):
        paint(f"{folder}/{seed}.png", seed=seed)
    with pytest.raises(DataError, match=named):
        scan(Source(tmp_path, prompt="a dog")).usable()


def test_prompt_wins_over_captions_and_one_warning_counts_them(tmp_path, paint):
    for seed in range(3):
        paint(f"{seed}.png", seed=seed)
        write(tmp_path, f"{seed}.txt", f"caption {seed}")
    found = scan(Source(tmp_path, prompt="a photo of sks dog"))
    assert set(captions(found).values()) == {"a photo of sks dog"}
    (warning,) = found.warnings()
    assert "3 captions are ignored" in warning


@pytest.mark.parametrize(
    ("texts", "expected", "level"),
    [
        (["[trigger] in snow", "[trigger] here"], ["sks dog in snow", "sks dog here"], {}),
        (["a SKS DOG", "sks dog"], ["a SKS DOG", "sks dog"], {}),
        (["in snow", "on grass"], ["sks dog, in snow", "sks dog, on grass"], {"trigger-inserted": ()}),
        (["in snow", "[trigger]"], ["in snow", "sks dog"], {"trigger-partial": ("0.png",)}),
        (["", "[trigger]"], ["", "sks dog"], {"caption-empty": ("0.png",)}),
    ],
)
def test_trigger(tmp_path, paint, texts, expected, level):
    for i, text in enumerate(texts):
        paint(f"{i}.png", seed=i)
        write(tmp_path, f"{i}.txt", text)
    found = scan(Source(tmp_path, trigger="sks dog"))
    assert [sample.caption for sample in found.usable()] == expected
    assert kinds(found, "warning") == level


def test_placeholder_without_trigger_and_trigger_without_words_are_errors(tmp_path, paint):
    paint("a.png")
    write(tmp_path, "a.txt", "a photo of [trigger]")
    with pytest.raises(DataError, match=r"data\.trigger"):
        scan(Source(tmp_path)).usable()
    write(tmp_path, "a.txt", "")
    with pytest.raises(DataError, match=r"All captions are empty"):
        scan(Source(tmp_path, trigger="sks")).usable()


def test_no_folder_a_file_and_an_empty_folder(tmp_path, paint):
    with pytest.raises(DataError, match="does not exist"):
        scan(Source(tmp_path / "gone"))
    with pytest.raises(DataError, match="is a file"):
        scan(Source(paint("a.png")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no pictures.*\.avif.*\.png"):
        scan(Source(tmp_path / "empty")).usable()


def test_linked_folders_are_read_once_even_in_circles(tmp_path, paint):
    paint("data/a.png")
    (tmp_path / "data/again").symlink_to(tmp_path / "data", target_is_directory=True)
    paint("elsewhere/b.png", seed=1)
    (tmp_path / "data/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = scan(Source(tmp_path / "data", prompt="a dog"))
    assert [sample.name for sample in found.usable()] == ["a.png", "linked/b.png"]


def test_surprises_of_decoding_are_warnings_and_matters_of_course_are_notes(tmp_path, paint):
    rgba = np.full((64, 64, 4), 128, dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    paint("phone.jpg", (64, 96), seed=1, exif=exif)
    found = scan(Source(tmp_path, prompt="a dog"))
    assert [(f.level, f.names) for f in found.findings] == [("warning", ("alpha.png",)), ("note", ("phone.jpg",))]
    assert found.samples[1].size == (96, 64)


def test_a_file_that_changes_after_the_scan_is_noticed(tmp_path, paint):
    paint("a.png")
    (sample,) = scan(Source(tmp_path, prompt="a dog")).usable()
    assert sample.read() == (tmp_path / "a.png").read_bytes()
    paint("a.png", seed=9)
    with pytest.raises(DataError, match="changed while it was in use"):
        sample.read()
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match="Put it back"):
        sample.read()


def test_heif_without_its_package_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    write(tmp_path, "a.heic", "x")
    with pytest.raises(DataError, match=r"a\.heic: is HEIF; pip install 'maquette\[heif\]'"):
        scan(Source(tmp_path, prompt="a dog")).usable()


def test_saved_data_set_without_its_package_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    write(tmp_path, "state.json", "{}")
    with pytest.raises(MissingDependencyError, match=r"maquette\[datasets\]"):
        scan(Source(tmp_path))
