"""The traffic pane: what a line says, growing replies, standing still while the user looks, filter, empty looks."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from nightdesk.core.foreign import safe
from nightdesk.model.desk import ExchangeChanged, ExchangeCounts, SourceState
from nightdesk.model.exchange import ExchangeRow
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.traffic import RowCache, TrafficPane, empty_look, ports_of
from nightdesk.tui.panes.traffic_columns import CHOICES, USUAL
from nightdesk.tui.panes.traffic_row import Style, for_cell, newest, rate_of, row_of
from nightdesk.tui.widgets.grid import Grid
from tests.support.viewer import NOW, FakeEngine, mirror, replaced, screen_text, snapshot, until, viewer

NS = 10**9
ALL = tuple({column.key: column for column in (*USUAL, *(one for _, one in CHOICES.values()))}.values())
COUNTS = ExchangeCounts(running=1, done=418, failed=3, verdicts=0)
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m\r\n\tend"


def row(number: int = 1, **more: Any) -> ExchangeRow:
    """A complete chat of 9 seconds that began a minute ago."""
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "started_ns": NOW - 60 * NS,
        "ended_ns": NOW - 51 * NS,
        "first_token_ns": NOW - 58 * NS,
        "method": "POST",
        "path": "/api/chat",
        "operation": "chat",
        "dialect": "ollama",
        "status": 200,
        "model": "qwen2.5-coder:32b",
        "process": "python",
        "pid": 4101,
        "job": "synthesize",
        "item": "audio/session_09.mp3",
        "fragments": 812,
        "prompt_tokens": 3100,
        "reply_tokens": 820,
        "generation_ns": 20 * NS,
        "tail": "and so it ends.",
        **more,
    }
    return ExchangeRow(**given)


def running(number: int = 1, **more: Any) -> ExchangeRow:
    given = {"state": "running", "ended_ns": None, "prompt_tokens": None, "reply_tokens": None, **more}
    return row(number, generation_ns=None, **given)


def cells(given: ExchangeRow, width: int = 60, now_ns: int = NOW) -> dict[str, str]:
    """Column → text."""
    line = row_of(given, now_ns, Style(ALL, UNICODE, width))
    return {column.key: cell.plain for column, cell in zip(ALL, line.cells, strict=True)}


def test_a_complete_exchange_says_what_was_asked_of_whom_and_how_fast_it_went() -> None:
    shown = cells(row())
    assert shown["state"] == "✓" and shown["call"] == "chat" and shown["model"] == "qwen2.5-coder:32b"
    assert shown["for wide"] == "synthesize › session_09.mp3"
    assert shown["prompt"] == "⇡3.1k" and shown["reply"] == "⇣820"
    assert shown["rate"] == "41" and shown["first"] == "2.0s"
    assert shown["text"] == "and so it ends."


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (34, "synthesize › session_09.mp3"),
        (27, "synthesize › session_09.mp3"),
        (26, "synthesi… › session_09.mp3"),
        (24, "synthe… › session_09.mp3"),
        (14, "synt… › ses…p3"),
    ],
)
def test_the_item_is_told_whole_before_the_job(width: int, told: str) -> None:
    shown = for_cell(row(), UNICODE, width).plain
    assert shown == told and cell_len(shown) <= width


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (160, 48)])
async def test_each_line_names_its_item_at_every_size(engine: FakeEngine, size: tuple[int, int]) -> None:
    app = viewer(FakeEngine(snapshot(exchanges=(row(verdicts=("context_cut",)),))))
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "› session_09.mp3" in screen_text(app))
        assert "qwen2.5-coder:32b" in screen_text(app)
        await until(pilot, lambda: "▲ context cut" in screen_text(app))


def test_without_a_job_the_process_stands_for_itself() -> None:
    assert cells(row(job=None, item=None))["for"] == "python 4101"
    assert cells(row(job=None, item=None, process=None, pid=None))["for"] == "–"


def test_a_running_exchange_marks_its_counts_as_estimates_and_shows_the_newest_text() -> None:
    shown = cells(running(tail="x" * 100 + " the end"), width=20)
    assert shown["state"] == "▶"
    assert shown["reply"] == "⇣~812" and shown["rate"] == "~14"
    assert shown["text"].endswith("the end") and cell_len(shown["text"]) <= 20


def test_an_exchange_without_its_first_token_says_how_long_it_has_waited() -> None:
    shown = cells(running(first_token_ns=None, fragments=0, tail=""))
    assert shown["state"] == "◷" and shown["first"] == "1m00s" and shown["rate"] == ""
    assert shown["text"] == "waits for the first token, 1m00s"


def test_the_sign_of_a_running_exchange_pulses_by_tone_only() -> None:
    tones = {
        row_of(running(), NOW + ms * 10**6, Style(USUAL, UNICODE)).cells[1].tone for ms in range(0, 1600, 200)
    }
    assert tones == {"ok", "muted"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"state": "failed", "error": "model not found", "tail": ""}, "model not found"),
        ({"state": "failed", "status": 500, "tail": ""}, "status 500"),
        ({"state": "incomplete", "missing": 4312}, "4.3 kB not captured  and so it ends."),
        ({"state": "aborted", "tail": ""}, "ended before the reply was whole"),
        ({"state": "partial", "tail": ""}, "only a part was captured"),
        ({"verdicts": ("context_cut",)}, "▲ context cut  and so it ends."),
        ({"verdicts": ("loop", "stalled")}, "▲ loop ▲ stalled  and so it ends."),
    ],
)
def test_what_went_wrong_stands_before_the_text(more: dict[str, Any], words: str) -> None:
    assert cells(row(**more))["text"] == words


def test_a_management_call_is_named_by_its_path() -> None:
    shown = cells(row(operation="manage", path="/api/pull?x=1", model=None, tail=""))
    assert shown["call"] == "pull" and shown["model"] == "–" and shown["first"] == ""


def test_rates_come_from_the_server_where_it_told_and_never_from_too_little() -> None:
    assert rate_of(row(), NOW) == (41.0, False)
    assert rate_of(running(first_token_ns=NOW - NS // 10), NOW) == (None, False)
    assert rate_of(running(fragments=2), NOW) == (None, False)
    assert rate_of(row(operation="embed", reply_tokens=None), NOW) == (None, False)


def test_the_newest_text_fits_its_width_also_with_wide_signs() -> None:
    assert newest("short", 20, UNICODE) == "short"
    assert newest("one\n\n two\tthree", 40, UNICODE) == "one two three"
    for width in range(12):
        assert cell_len(newest("議事録" * 50, width, UNICODE)) <= width


def test_lines_that_are_over_are_made_once() -> None:
    cache, style, over = RowCache(), Style(USUAL, UNICODE, 40), row(1)
    first = cache.row(over, NOW, style)
    assert cache.row(over, NOW + 5 * NS, style) is first
    assert cache.row(over, NOW, style, "◆") is not first
    assert cache.row(over, NOW, Style(USUAL, UNICODE, 30)) is not first
    grows = running(2)
    assert cache.row(grows, NOW, style) is not cache.row(grows, NOW, style)


def test_the_empty_look_names_ports_source_and_the_next_step() -> None:
    assert ports_of(mirror()) == "port 11434"
    live = SourceState(name="capture", state="live", label="lo tcpdump", at_ns=NOW)
    assert empty_look("port 11434", live).message == "No exchange yet on port 11434 (lo tcpdump)."
    off = empty_look("port 11434", replaced(live, state="off"))
    assert off.message == "The capture is off." and "[capture]" in off.hint
    assert empty_look("port 11434", None).kind == "loading"


async def test_a_growing_reply_grows_on_the_screen(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(running(1, tail="## Exec", job=None),), counts=COUNTS)
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "## Exec" in screen_text(app))
        assert "1 running · 418 done · 3 failed" in screen_text(app)
        grown = running(1, tail="## Executive Summary", job=None)
        engine.more.put_nowait(ExchangeChanged(row=grown, counts=COUNTS))
        await until(pilot, lambda: "## Executive Summary" in screen_text(app))
        done = replaced(COUNTS, running=0, done=419)
        engine.more.put_nowait(ExchangeChanged(row=row(1, verdicts=("context_cut",)), counts=done))
        await until(pilot, lambda: "▲ context cut" in screen_text(app))
        assert "419 done" in screen_text(app)


async def test_new_exchanges_push_in_until_the_user_looks_further_down(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=tuple(row(n, model=f"model-{n}") for n in range(1, 41)), counts=COUNTS)
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: "model-40" in screen_text(app))
        grid = app.desk_screen.query_one(TrafficPane).query_one(Grid)
        engine.more.put_nowait(ExchangeChanged(row=row(41, model="model-41"), counts=COUNTS))
        await until(pilot, lambda: "model-41" in screen_text(app))
        assert grid.rows[grid.cursor].key == 41
        await pilot.press("j", "j", "j")
        assert grid.rows[grid.cursor].key == 38
        offset = grid.scroll_offset.y
        for number in range(42, 47):
            engine.more.put_nowait(ExchangeChanged(row=row(number, model=f"model-{number}"), counts=COUNTS))
        await until(pilot, lambda: "5 new" in screen_text(app))
        assert grid.rows[grid.cursor].key == 38
        assert grid.scroll_offset.y == offset, "a list that is read stands still"
        assert "model-46" not in screen_text(app)
        await pilot.press("g")
        await until(
            pilot, lambda: "model-46" in screen_text(app) and "new" not in screen_text(app).split("\n")[1]
        )


async def test_the_filter_keeps_what_matches_and_escape_brings_all_back(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(row(1, model="alpha:7b"), row(2, model="beta:7b")), counts=COUNTS)
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "beta:7b" in screen_text(app))
        await pilot.press("slash", *"alpha", "enter")
        await until(pilot, lambda: "beta:7b" not in screen_text(app))
        assert "/alpha" in screen_text(app)
        await pilot.press("slash", *"xyz", "enter")
        await until(pilot, lambda: "No exchange matches “alphaxyz”." in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "beta:7b" in screen_text(app))


async def test_v_goes_from_finding_to_finding(engine: FakeEngine) -> None:
    rows = (row(1, verdicts=("loop",)), row(2), row(3, state="failed"), row(4))
    engine.first = snapshot(exchanges=rows, counts=COUNTS)
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        grid = app.desk_screen.query_one(TrafficPane).query_one(Grid)
        await until(pilot, lambda: grid.cursor_key == 4)
        seen = []
        for _ in range(3):
            await pilot.press("v")
            seen.append(grid.cursor_key)
        assert seen == [3, 1, 3]


async def test_an_idle_or_failed_capture_says_why(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "No exchange yet on port 11434 (lo tcpdump)." in screen_text(app))
        failed = SourceState(
            name="capture",
            state="failed",
            at_ns=NOW,
            message="No right to capture on lo: run nightdesk doctor.",
        )
        engine.more.put_nowait(snapshot(sources=(failed,)))
        await until(pilot, lambda: "run nightdesk doctor" in screen_text(app))
        lossy = SourceState(name="capture", state="live", label="lo", at_ns=NOW, dropped=1200)
        engine.more.put_nowait(snapshot(sources=(lossy,), exchanges=(row(),), counts=COUNTS))
        await until(pilot, lambda: "⚠ 1.2k packets lost" in screen_text(app))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 48)])
async def test_hostile_rows_stay_harmless_at_each_size(engine: FakeEngine, size: tuple[int, int]) -> None:
    bad = {"model": HOSTILE, "tail": HOSTILE, "process": HOSTILE, "path": HOSTILE, "method": HOSTILE}
    engine.first = snapshot(
        exchanges=(
            running(1, **bad, job=HOSTILE, item=HOSTILE),
            row(2, **bad, job=None, verdicts=(HOSTILE,)),
            row(3, **bad, state="failed", error=HOSTILE * 1000),
            row(4, **bad, operation="other"),
        ),
        counts=COUNTS,
        sources=(SourceState(name="capture", state="live", label=HOSTILE, message=HOSTILE, at_ns=NOW),),
    )
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "abc" in screen_text(app))
        grid = app.desk_screen.query_one(TrafficPane).query_one(Grid)
        for y in range(grid.size.height):
            text = grid.render_line(y).text
            assert safe(text) == text
        assert "\x1b" not in app.export_screenshot()
        await pilot.press("slash", *"[/]", "enter")
        await pilot.pause()
        assert app.is_running
