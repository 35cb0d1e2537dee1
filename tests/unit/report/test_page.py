"""The page of a run: whole, by itself, safe to pass on, and there at any time."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from tests.unit.report.sample_run import HOME, PROMPTS, STEPS, picture, settings, write_run
from typer.testing import CliRunner

from maquette.cli.report import report
from maquette.errors import CheckpointError, DataError
from maquette.report.charts import Series
from maquette.report.curves import half_life_of, merged, smoothed
from maquette.report.grid import COLUMNS, ROWS, spread
from maquette.report.html import PICTURES, render, write_report
from maquette.report.pictures import FOLDER, save_thumbnails
from maquette.report.read import read_facts
from maquette.report.words import bytes_in_words, duration, pace
from maquette.runs.events import Previewed, Started, Step, append_events
from maquette.runs.rundir import RunDir, create_run, open_run

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The elements and the visible text of a page; refuses tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += f" {' '.join(data.split())}"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def previews(self) -> list[dict[str, str | None]]:
        return [image for image in self.of("img") if "data-where" in image]


def page_of(run: RunDir) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_finished_run_is_told_whole(tmp_path):
    page = page_of(write_run(tmp_path / "mug", "adapter.rank=4", 'text_encoder.train="lora"'))
    for words in [
        "A LoRA of rank 4 for maquette-64 that learned sks mug from 3 pictures",
        "1 min 15 s",  # 75 seconds of the whole run
        "8 steps/s",  # 40 steps in 20 readings of a quarter of a second
        "2 captions are ignored.",
        *(f"a photo of a sks mug, view {i}" for i in range(3)),
        *PROMPTS,
        *("Loss", "Validation loss", "Learning rate", "Gradient norm"),
        "export/mug.safetensors",
        "export/pytorch_lora_weights.safetensors",
        "a sks mug on the beach <lora:mug:1>",
        *("adapter.rank 4", "torch 2.13.0", "commit abc123"),
    ]:
        assert words in re.sub(r"\s+", " ", page.text), words
    assert "Not finished" not in page.text
    assert len(page.of("svg")) == 8  # four charts, each for large and for small screens


def test_nothing_is_fetched_and_nobody_is_named(tmp_path):
    html = write_report(write_run(tmp_path / "mug")).read_text(encoding="utf-8")
    page = Page(html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "data", "background", "formaction"):
            address = attributes.get(name)
            assert address is None or address.startswith("data:"), (tag, name, address)
    assert not [attributes for attributes in page.of("script") if attributes]
    assert "url(" not in html
    assert "@import" not in html
    assert HOME not in html
    assert "somebody" not in html
    assert str(tmp_path) not in html


def test_every_chart_is_well_formed(tmp_path):
    html = write_report(write_run(tmp_path / "mug")).read_text(encoding="utf-8")
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 8
    assert all(ET.fromstring(chart).tag.endswith("svg") for chart in charts)


def test_previews_are_rows_of_a_prompt_and_seed_with_the_base_first(tmp_path):
    run = write_run(tmp_path / "mug", seeds=(3, 4))
    grid = [(image["data-prompt"], image["data-where"]) for image in page_of(run).previews()]
    columns = ("base, step 0", "step 20", "step 40")
    assert grid == [(prompt, f"{step} · seed {seed}") for prompt in PROMPTS for seed in (3, 4) for step in columns]


@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</script>", "a & b", "„x“"]
)
def test_whatever_a_caption_or_prompt_says_it_is_text(tmp_path, words):
    run = write_run(tmp_path / "mug", prompts=[words])
    save_thumbnails(run.root / FOLDER, [(picture(1), words), (picture(2), "another")])
    page = page_of(run)
    assert len(page.of("script")) == 1
    assert not [image for image in page.of("img") if "onerror" in image]
    assert page.previews()[0]["data-prompt"] == words
    assert page.text.count(" ".join(words.split())) >= 2


def test_a_run_that_is_under_way_is_told_as_far_as_it_is(tmp_path):
    page = page_of(write_run(tmp_path / "mug", last=20))
    assert "Not finished: step 20 of 40." in page.text
    assert "20 of 40" in page.text
    assert "Nothing has been exported yet." in page.text
    assert len(page.previews()) == 4


def test_a_run_that_has_not_begun_is_told(tmp_path):
    run = create_run(tmp_path / "mug")
    run.config.write_text(settings())
    page = page_of(run)
    assert "Not finished: step 0 of 40." in page.text
    assert "No previews yet." in page.text
    assert "No readings yet." in page.text
    assert "adapter" in page.text


def test_previews_that_are_off_are_not_awaited(tmp_path):
    run = create_run(tmp_path / "mug")
    run.config.write_text(settings("preview.every=0", prompts=[]))
    assert "Previews were turned off" in page_of(run).text


def test_a_resumed_run_says_so(tmp_path):
    run = write_run(tmp_path / "mug", last=20)
    append_events(run.events, [Started(20, STEPS)])
    assert "Resumed after step 20." in page_of(run).text


def test_people_may_keep_their_pictures_out(tmp_path):
    run = write_run(tmp_path / "mug")
    for file in (run.root / FOLDER).iterdir():
        file.unlink()
    save_thumbnails(run.root / FOLDER, [(picture(1), "one"), (picture(2), "two")], captions_only=True)
    page = page_of(run)
    assert len(page.of("img")) == len(page.previews()) + 2  # and the two empty ones of the enlarged view
    assert "2 pictures" in page.text
    assert "one" in page.text


def test_one_caption_for_all_is_said_once(tmp_path):
    run = write_run(tmp_path / "mug")
    save_thumbnails(run.root / FOLDER, [(picture(i), "a photo of a sks mug") for i in range(PICTURES + 2)])
    page = page_of(run)
    assert f"{PICTURES + 2} pictures, all with the caption" in page.text
    assert f"The first {PICTURES} are here." in page.text


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(tmp_path):
    run = write_run(tmp_path / "mug")
    gone, cut = run.preview(0, 0, 0), run.preview(20, 1, 0)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:200])
    (run.root / FOLDER / "0001.png").unlink()
    run.versions.write_text("{")
    (run.export / "mug.safetensors").write_bytes(b"broken")
    page = page_of(run)
    for name in (gone.name, cut.name, f"{FOLDER}/0001.png", "versions.json", "mug.safetensors"):
        assert name in page.text
    assert len(page.previews()) == 4


def test_pictures_outside_of_the_run_are_left_out(tmp_path):
    run = write_run(tmp_path / "mug")
    picture(1).save(tmp_path / "mine.png")
    append_events(run.events, [Previewed(40, "theirs", 0, "../mine.png"), Previewed(40, "theirs", 1, "/etc/passwd")])
    page = page_of(run)
    assert page.text.count("lies outside of the run's folder") == 2
    assert "theirs" not in [image["data-prompt"] for image in page.previews()]


def test_a_large_run_stays_a_page_and_says_what_is_left_out(tmp_path):
    run = write_run(tmp_path / "mug", last=0)
    file = run.relative(run.preview(0, 0, 0))
    append_events(
        run.events,
        [Previewed(10 * s, PROMPTS[0], seed, file) for s in range(COLUMNS + 8) for seed in range(ROWS + 6)],
    )
    page = page_of(run)
    assert len(page.previews()) == COLUMNS * (ROWS - 1) + 1  # of the other prompt there is one picture, and it is shown
    assert f"{COLUMNS} of {COLUMNS + 8} steps are shown." in page.text
    assert f"{ROWS} of {ROWS + 7} rows are shown" in page.text


def test_spreading_keeps_the_first_and_the_last():
    assert spread([1, 2, 3], 5) == [1, 2, 3]
    assert spread(list(range(0, 1010, 10)), 5) == [0, 250, 500, 750, 1000]


def test_a_loss_that_is_no_number_does_not_stop_the_report(tmp_path):
    run = write_run(tmp_path / "mug", last=20)
    append_events(run.events, [Step(22, 44, float("nan"), float("inf"), 0.25, {"denoiser": 1e-4})])
    assert "1 of 11 readings were not finite" in page_of(run).text


def test_damage_that_hides_what_happened_is_an_error(tmp_path):
    run = write_run(tmp_path / "mug")
    run.events.write_text("not an event\n" + run.events.read_text())
    with pytest.raises(DataError, match="line 1"):
        write_report(run)


def test_writing_again_gives_the_same_page(tmp_path):
    run = write_run(tmp_path / "mug")
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert not list(run.root.glob(".*"))


def test_smoothing_is_a_weighted_mean_whose_weights_halve():
    y = [3.0, 1.0, 4.0, 1.0, 5.0]
    weights = [0.5 ** ((4 - i) / 2) for i in range(5)]
    expected = sum(w * v for w, v in zip(weights, y, strict=True)) / sum(weights)
    # The same sum in another order: fp64 rounding.
    assert smoothed(Series("loss", range(5), y), 2).y[-1] == pytest.approx(expected, rel=1e-12)
    assert [half_life_of(n) for n in (1, 60, 200, 5000)] == [3, 3, 10, 50]


def test_equal_learning_rates_are_one_line():
    a, b, c = Series("a", [1, 2], [1.0, 2.0]), Series("b", [1, 2], [1.0, 2.0]), Series("c", [1, 2], [2.0, 2.0])
    assert [series.name for series in merged([a, b, c])] == ["a, b", "c"]


def test_numbers_in_words():
    assert [duration(s) for s in (0.4, 59, 75, 3600, 7320)] == ["0 s", "59 s", "1 min 15 s", "1 h 0 min", "2 h 2 min"]
    assert [bytes_in_words(n) for n in (0, 999, 3_200_000, 999_999, 5 * 10**9)] == [
        "0 B",
        "999 B",
        "3.2 MB",
        "1 MB",
        "5 GB",
    ]
    assert [pace(x) for x in (2.0834, 0.25)] == ["2.08 steps/s", "4 s/step"]


def test_the_facts_are_those_of_the_log(tmp_path):
    run = write_run(tmp_path / "mug")
    facts = read_facts(run)
    lines = [json.loads(line) for line in run.events.read_text().splitlines()]
    readings = [line for line in lines if line["kind"] == "step"]
    assert list(facts.loss.y) == [line["loss"] for line in readings]
    assert [list(series.y) for series in facts.rates] == [
        [line["lr"][name] for line in readings] for name in ("denoiser", "text_encoder")
    ]
    assert facts.peak_memory == max(line["memory_bytes"] for line in readings)
    assert (facts.steps_done, facts.steps, facts.is_finished) == (STEPS, STEPS, True)


def test_a_style_without_words_has_no_trigger(tmp_path):
    run = write_run(tmp_path / "ink", prompts=[])
    run.config.write_text('[data]\nfolder = "ink"\n[training]\nsteps = 40\n')
    page = page_of(run)
    assert "A LoRA of rank 16 for maquette-64, trained on 3 pictures." in re.sub(r"\s+", " ", page.text)
    assert "Write " not in page.text


def test_the_command_writes_the_page_and_says_where(tmp_path):
    app = typer.Typer()
    app.command()(report)
    run = write_run(tmp_path / "mug")
    done = CliRunner().invoke(app, [str(run.root)])
    assert done.exit_code == 0, done.output
    assert "report.html is written." in done.output
    assert run.report.read_text(encoding="utf-8") == render(read_facts(run))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run"):
        open_run(tmp_path)


def test_the_report_needs_no_torch():
    code = "import sys, maquette.report.html, maquette.report.card; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_templates_hold_no_foreign_address():
    folder = Path(sys.modules[render.__module__].__file__).parent / "templates"
    for part in folder.iterdir():
        assert not re.search(r"(?<!xmlns=\")https?://", part.read_text(encoding="utf-8")), part.name
