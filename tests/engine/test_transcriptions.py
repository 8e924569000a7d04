"""What the engine tells of the transcriptions of a run: from events, from logs, by items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightdesk.core.whisper.files import EVENTS_NAME
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.engine.transcriptions import Transcriptions
from nightdesk.model.errors import UsageError
from nightdesk.model.job import ItemRecord, Run, RunState
from nightdesk.model.units import NS


class Desk:
    """One run on disk, and who answers for it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "run.log"
        self.folder = folder
        self.items_total: int | None = None
        self.state: RunState = "running"
        self.answers = Transcriptions(self.find, lambda _: None)

    def find(self, run_id: str) -> Run:
        """The run."""
        if run_id != "night-1":
            raise UsageError("There is no such run.")
        return Run(
            id="night-1",
            job="night",
            mode="full",
            state=self.state,
            command="whisper a.mp3",
            folder=str(self.folder),
            log_path=str(self.log),
            created_ns=0,
            started_ns=0,
            ended_ns=None,
            items_total=self.items_total,
        )

    def write(self, text: str) -> None:
        """Add to the log."""
        with self.log.open("a") as file:
            file.write(text)

    def tell(self, **event: object) -> None:
        """Add an event."""
        with (self.folder / EVENTS_NAME).open("a") as file:
            file.write(json.dumps(event) + "\n")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_log_is_read_on_as_it_grows(desk: Desk) -> None:
    assert desk.answers.view("night-1", None, 0, NS).program is None
    desk.write("Detecting language using up to the first 30 seconds. Use\n[00:00.000 --> 00:04.000]  Well")
    assert desk.answers.view("night-1", None, 0, NS).segments == ()
    desk.write(", it started.\n")
    made = desk.answers.view("night-1", None, 0, 2 * NS)
    assert made.program == "whisper" and made.speed == 2.0
    assert [each.heard.text for each in made.segments] == ["Well, it started."]
    desk.write("[00:04.000 --> 00:09.000]  And it ended.\n")
    made = desk.answers.view("night-1", None, 1, 3 * NS)
    assert made.first == 1 and [each.heard.text for each in made.segments] == ["And it ended."]
    assert made.files[0].state == "running"
    desk.state = "done"
    assert desk.answers.view("night-1", None, 2, 3 * NS).files[0].state == "done"


def test_a_progress_bar_is_followed_although_its_line_does_not_end(desk: Desk) -> None:
    desk.write("\r  0%|          | 0/7000 [00:00<?, ?frames/s]")
    assert desk.answers.view("night-1", None, 0, NS).files[0].position_s == 0.0
    desk.write("\r 43%|####      | 3000/7000 [00:10<00:13, 300.00frames/s]")
    made = desk.answers.view("night-1", None, 0, 10 * NS)
    assert (made.files[0].position_s, made.files[0].duration_s) == (30.0, 70.0)
    assert made.speed == 3.0 and made.audio_left_s == 40.0


def test_events_win_over_the_log_and_damaged_lines_cost_nothing(desk: Desk) -> None:
    desk.write("[00:00.000 --> 00:04.000]  from the log\n")
    assert desk.answers.view("night-1", None, 0, NS).program == "whisper"
    desk.tell(event="began", file="a.mp3", duration_s=100.0, at_ns=1)
    with (desk.folder / EVENTS_NAME).open("a") as file:
        file.write('{"event":"segment","file\n{"event":"unheard of"}\n')
    desk.tell(event="segment", file="a.mp3", start_s=0, end_s=4, text="from the event", compression_ratio=7.0)
    made = desk.answers.view("night-1", None, 0, NS)
    assert made.program == "nightdesk" and [file.name for file in made.files] == ["a.mp3"]
    assert [each.heard.text for each in made.segments] == ["from the event"]
    assert [alarm.kind for alarm in made.alarms] == ["loop"]


def test_each_item_of_a_run_has_its_part_of_the_log(desk: Desk) -> None:
    desk.items_total = 3
    first = "[00:00.000 --> 00:04.000]  one\n"
    desk.write(first + "[00:00.000 --> 00:06.000]  two\n")
    records = (
        ItemRecord(item="a.mp3", index=0, state="done", started_ns=1, ended_ns=1 + 2 * NS, log_offset=0),
        ItemRecord(
            item="b.mp3", index=1, state="failed", started_ns=3, ended_ns=3 + 4 * NS, log_offset=len(first)
        ),
    )
    RunFolder(desk.folder).append_items(records)
    made = desk.answers.view("night-1", 1, 0, NS)
    assert [(file.name, file.state, file.took_s) for file in made.files] == [
        ("a.mp3", "done", 2.0),
        ("b.mp3", "failed", 4.0),
    ]
    assert [each.heard.text for each in made.segments] == ["two"]


def test_an_unknown_run_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError):
        desk.answers.view("other", None, 0, NS)
