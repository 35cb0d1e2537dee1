"""The log of a run: what is written is read, torn lines wait, and a resumed run leaves the log of one run."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maquette.errors import DataError
from maquette.runs.events import (
    Event,
    Finished,
    Previewed,
    Saved,
    Scored,
    Started,
    Step,
    Warned,
    append_events,
    keep_until,
    read_events,
)


def step(number: int) -> Step:
    return Step(number, 2 * number, 0.1 + 0.2, 1.5, 0.25, {"denoiser": 1e-4, "text_encoder": 5e-5})


ALL: list[Event] = [
    Started(0, 30),
    step(1),
    Previewed(1, "a “sks” dog\nin snow", 0, "previews/step-000001.png"),
    Saved(1, "checkpoints/step-00000001"),
    Scored(1, "validation loss", 0.3),
    Warned(1, "3 pictures are smaller than 512 pixels."),
    step(2),
    Finished(2, 12.5),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_every_kind_of_event_is_read_as_it_was_written(log):
    append_events(log, ALL[:3])
    append_events(log, ALL[3:])
    assert read_events(log).events == tuple(ALL)
    assert read_events(log).torn == ""


def test_lines_are_json_objects_that_say_their_kind(log):
    append_events(log, ALL)
    raw = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [entry["kind"] for entry in raw] == [
        "started", "step", "previewed", "saved", "scored", "warned", "step", "finished",
    ]  # fmt: skip
    assert raw[1]["loss"] == 0.1 + 0.2  # every digit of a double survives


def test_numbers_that_are_not_finite_stay_valid_json(log):
    append_events(log, [Step(1, 1, math.nan, math.inf, 0.1, {})])

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(log.read_text(), parse_constant=refuse)["loss"] is None
    (read,) = read_events(log).of(Step)
    assert math.isnan(read.loss)
    assert math.isnan(read.grad_norm)
    assert read.memory_bytes is None


def test_events_of_one_kind(log):
    append_events(log, ALL)
    assert read_events(log).of(Step) == [ALL[1], ALL[6]]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_line_is_set_aside_and_reported(log, cut):
    append_events(log, ALL[:2])
    whole = log.read_bytes()
    append_events(log, [step(2)])
    line = log.read_bytes()[len(whole) :]
    log.write_bytes(whole + line[:cut])
    read = read_events(log)
    assert read.events == tuple(ALL[:2])
    assert read.torn == line[:cut].decode()


def test_a_line_torn_inside_a_character_is_still_only_torn(log):
    append_events(log, [Warned(1, "é")])
    log.write_bytes(log.read_bytes()[:-4])
    assert read_events(log).events == ()
    assert read_events(log).torn.startswith('{"step":1')


def test_what_is_no_event_is_refused_by_line(log):
    append_events(log, ALL[:2])
    with log.open("a") as file:
        file.write('{"kind": "dance", "step": 3}\nnot json\n{"kind": "saved", "step": 4}\n')
    append_events(log, ALL[2:3])
    with pytest.raises(DataError) as caught:
        read_events(log)
    message = str(caught.value)
    assert message.startswith(f"{log}: ")
    assert all(f"line {number} (" in message for number in (3, 4, 5))
    assert "line 6" not in message


def test_an_event_of_a_later_version_may_say_more(log):
    log.write_text('{"kind": "saved", "step": 4, "path": "x", "size": 12}\n')
    assert read_events(log).events == (Saved(4, "x"),)


def test_a_resumed_run_leaves_the_log_of_one_run(tmp_path):
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    events: list[Event] = [Started(0, 4), step(1), step(2), Saved(2, "c"), step(3), step(4), Finished(4, 1.0)]
    append_events(whole, events)
    append_events(resumed, events[:5])
    with resumed.open("ab") as file:
        file.write(b'{"step": 4, "ima')  # killed here
    cut = keep_until(resumed, 2)
    assert cut.events == (step(3),)
    assert cut.torn == '{"step": 4, "ima'
    append_events(resumed, events[4:])
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_finished_run_that_goes_on_has_not_finished(log):
    append_events(log, ALL)
    assert keep_until(log, 2).events == (ALL[-1],)
    assert read_events(log).events == tuple(ALL[:-1])


def test_two_writers_do_not_tear_each_others_lines(log):
    def append_many(start: int) -> None:
        for number in range(start, start + 30):
            append_events(log, [step(number)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(append_many, (0, 1000)))
    assert sorted(event.step for event in read_events(log).events) == [*range(30), *range(1000, 1030)]
