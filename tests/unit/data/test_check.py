import json

import pytest
import typer
from PIL import Image
from tests.contract import tiny
from typer.testing import CliRunner

from maquette.cli.check import check as check_command
from maquette.data.buckets import bucket_sizes
from maquette.data.check import Fit, check, duplicates, imbalance, shared_words
from maquette.data.sample import Sample, Source
from maquette.errors import ConfigError
from maquette.families.load import load_family

SMALL = Fit(bucket_sizes(64, 8))


def captioned(*texts: str) -> list[Sample]:
    return [Sample(f"{i}.png", text, (64, 64), digest=str(i)) for i, text in enumerate(texts)]


def test_copies_and_near_copies(tmp_path, paint):
    original = Image.open(paint("a.png", (6, 6))).resize((120, 120), Image.Resampling.BICUBIC)
    original.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    original.resize((90, 90)).save(tmp_path / "c.jpg", quality=70)
    Image.open(paint("d.png", (6, 6), seed=5)).resize((120, 120), Image.Resampling.BICUBIC).save(tmp_path / "d.png")
    report = check(Source(tmp_path, prompt="sks"), SMALL)
    names = {finding.kind: finding.names for finding in report.findings}
    assert names == {"duplicate": ("a.png = b.png",), "near-duplicate": ("a.png ~ c.jpg",)}
    assert report.is_usable


def test_pictures_without_a_caption_are_looked_at_all_the_same(tmp_path, paint):
    paint("a.png", (64, 64))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    paint("small.png", (20, 64), seed=1)
    report = check(Source(tmp_path), SMALL)
    kinds = {finding.kind for finding in report.findings}
    assert kinds >= {"caption-missing", "duplicate", "too-small"}
    assert (report.num_pictures, sum(count for _, count in report.sizes)) == (3, 3)
    assert not report.is_usable


def test_hashes_are_compared_bit_by_bit():
    pair = [Sample(name, "a", (9, 9), digest=name, likeness=bits) for name, bits in (("a", 0), ("b", 0b111111))]
    assert len(duplicates(pair)) == 1
    apart = [pair[0], Sample("c", "a", (9, 9), digest="c", likeness=0b1111111)]
    assert duplicates(apart) == []


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            ["a sks dog with a red collar on grass", "photo of sks dog, red collar", "Red collar, sks dog"],
            ("red collar",),
        ),
        (["sks, brown fur, snow", "brown fur, sks", "sks, brown fur, big ears"], ("brown fur",)),
        # The class noun behind the trigger is meant to be there, a different one each time is not shared.
        (["a sks dog in snow", "the sks dog at sea", "sks dog"], None),
        # "photo" and its like name nothing.
        (["photo of sks dog at sea", "photo of a sks dog in snow", "a photo of sks dog"], None),
        # One prompt for all is no caption that could leave something out.
        (["sks dog with red collar"] * 3, None),
        # Two captions may agree by chance.
        (["sks, red collar", "red collar, sks, snow"], None),
        (["sks redcollar", "sks red collar", "sks, red collars"], None),
    ],
)
def test_words_in_every_caption(texts, expected):
    findings = shared_words(captioned(*texts), "sks")
    assert [finding.names for finding in findings] == ([] if expected is None else [expected])


def test_uneven_folders_and_few_class_images():
    samples = [Sample(f"a/{i}.png", "a", (9, 9), digest=f"a{i}", repeats=4) for i in range(4)]
    samples += [Sample(f"b/{i}.png", "b", (9, 9), digest=f"b{i}") for i in range(5)]
    (finding,) = imbalance(samples)
    assert finding.names == ("a (16)", "b (5)")
    even = samples[1:4] + samples[4:]  # 12 to 5
    assert imbalance(even) == []
    (few,) = imbalance([*even, Sample("reg/0.png", "b", (9, 9), digest="r", is_class=True)])
    assert "only 1 class images" in few.message


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(check_command)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_command_reports_everything_by_name(tmp_path, paint, run):
    for i, size in enumerate([(512, 512), (512, 768), (200, 300)]):
        paint(f"{i}.png", size, seed=i)
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:1000])
    result = run(tmp_path, "--prompt", "a photo of [trigger]", "--trigger", "sks dog", "--resolution", 512)
    assert result.exit_code == 1
    for part in ("3 pictures", "cut.png", "2.png (200x300 for", "512 x 512", "would refuse"):
        assert part in result.stdout


def test_command_accepts_a_good_folder_and_speaks_json(tmp_path, paint, run):
    paint("a.png", (80, 64))
    result = run(tmp_path, "--prompt", "sks [dog]", "--resolution", 64)
    assert result.exit_code == 0
    assert "would accept" in result.stdout
    as_json = run(tmp_path, "--prompt", "sks [dog]", "--resolution", 64, "--json")
    report = json.loads(as_json.stdout)
    assert report["is_usable"]
    assert report["num_pictures"] == 1
    assert report["sizes"] == [[[64, 64], 1]]  # of the embedded base, whose sides are multiples of 16
    assert report["findings"] == []


def test_pictures_are_looked_at_as_the_base_would_be_trained(tmp_path, paint, run):
    paint("a.png", (80, 80))
    base = tiny.save("sd1", tmp_path / "base")
    size = load_family(base).default_size
    assert size != (64, 64)  # else it would not differ from the embedded base
    asked = (tmp_path, "--prompt", "sks", "--json")
    assert json.loads(run(*asked, "--base", base).stdout)["sizes"] == [[list(size), 1]]
    assert json.loads(run(*asked).stdout)["resolution"] == 64


def test_a_file_says_for_itself_how_pictures_are_brought_to_size(tmp_path, paint, run):
    paint("a.png", (40, 40))
    settings = tmp_path / "run.toml"
    settings.write_text('[data]\nfolder = "."\nprompt = "a mug"\nsize = [64, 48]\nbuckets = false\nupscale = true\n')
    report = json.loads(run(settings, "--json").stdout)
    assert report["sizes"] == [[[64, 48], 1]]
    assert [f["level"] for f in report["findings"] if f["kind"] == "too-small"] == ["warning"]
    settings.write_text('[data]\nfolder = "."\nprompt = "a mug"\nresolution = 64\n')
    assert run(settings).exit_code == 1


def test_mistakes_name_the_flag(tmp_path, paint, run):
    paint("a.png", (40, 40))
    result = run(tmp_path, "--resolution", 500)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "--resolution: data.resolution = 500 should be a multiple of 8."
