"""Diff, replay, comparison and cancel in the viewer, on a real engine and a real model server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightdesk.model.inspection import OfferedModel
from nightdesk.tui.asks import CancelRequested, MarkForDiff, OpenComparison, OpenDiff, OpenReplay
from nightdesk.tui.screens.cancel import CancelScreen
from nightdesk.tui.screens.comparison import ComparisonScreen, ModelsScreen
from nightdesk.tui.screens.diff import DiffScreen
from nightdesk.tui.screens.replay import ReplayScreen, model_rows
from nightdesk.tui.screens.replaying import ReplayingScreen
from nightdesk.tui.widgets.diffview import DiffView
from nightdesk.tui.widgets.grid import Grid
from tests.support.desk import LiveDesk, live_desk
from tests.support.replay import LLAMA
from tests.support.viewer import screen_text, until


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveDesk]:
    with live_desk(tmp_path, monkeypatch) as made:
        yield made


async def test_two_exchanges_are_marked_and_compared_part_by_part(desk: LiveDesk) -> None:
    first = desk.chat("Summarise the minutes of Monday.", temperature=0.2, seed=1)
    second = desk.chat("Summarise the minutes of Tuesday.", temperature=0.9, seed=2)
    app = desk.viewer()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.post_message(OpenDiff(0, second))
        await until(pilot, lambda: "Nothing is marked to compare with." in screen_text(app))
        app.post_message(MarkForDiff(first))
        await until(pilot, lambda: "go to another one and press d" in screen_text(app))
        app.post_message(OpenDiff(0, second))
        await until(pilot, lambda: isinstance(app.screen, DiffScreen) and app.screen.compared)
        await pilot.press("1")
        await until(pilot, lambda: "- Summarise" in screen_text(app) and "Monday" in screen_text(app))
        text = screen_text(app)
        line = next(row for row in text.splitlines() if "Monday" in row)
        assert line.index("- Summarise") < line.index("│+ Summarise") < line.index("Tuesday"), "side by side"
        await pilot.press("2")
        await until(pilot, lambda: "temperature: 0.9" in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: f"Diff {second} → {first}" in screen_text(app))
        await pilot.press("4")
        await until(pilot, lambda: "reply tokens" in screen_text(app) and "ratio" in screen_text(app))
        await pilot.press("1", "n")
        view = app.screen.query_one(DiffView)
        assert view.change == 1
        await pilot.press("n", "n")
        assert isinstance(app.screen, DiffScreen) and app.screen.page >= 1, "n goes on over the pages"
        await pilot.press("escape")
        assert not isinstance(app.screen, DiffScreen)


async def test_a_narrow_diff_is_unified_and_folds_what_is_equal(desk: LiveDesk) -> None:
    body = "\n".join(f"line {number}" for number in range(40))
    first = desk.chat(body + "\nold end")
    second = desk.chat(body + "\nnew end")
    app = desk.viewer()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.post_message(OpenDiff(first, second))
        await until(pilot, lambda: isinstance(app.screen, DiffScreen) and app.screen.compared)
        await pilot.press("1")
        await until(pilot, lambda: "equal lines; f unfolds" in screen_text(app))
        text = screen_text(app)
        assert text.index("- old end") < text.index("+ new end") and "line 12" not in text
        await pilot.press("f")
        await until(pilot, lambda: "line 12" in screen_text(app))


async def test_a_request_is_sent_again_changed_and_compared(desk: LiveDesk) -> None:
    number = desk.chat("Why is the sky blue?", num_predict=20, temperature=0.1)
    app = desk.viewer()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.post_message(OpenReplay(number))
        await until(pilot, lambda: isinstance(app.screen, ReplayScreen) and "gemma3:4b" in screen_text(app))
        assert "Why is the sky blue?" in screen_text(app) and "as recorded" in screen_text(app)
        await pilot.press("tab", "tab", "tab", "end", "backspace", "backspace", "7", "enter")
        await until(pilot, lambda: isinstance(app.screen, ReplayingScreen))
        screen = app.screen
        assert isinstance(screen, ReplayingScreen)
        await until(pilot, lambda: screen.exchange is not None and screen.exchange.state == "complete")
        assert screen.exchange and screen.exchange.replay_of == number
        assert screen.exchange.prompt and screen.exchange.prompt.options["num_predict"] == 7
        assert screen.exchange.reply_tokens == 7
        assert f"original {number}" in screen_text(app) and f"replay {screen.number}" in screen_text(app)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DiffScreen) and app.screen.compared)
        assert f"replay of {number}" in screen_text(app)
        await pilot.press("2")
        await until(pilot, lambda: "num_predict: 7" in screen_text(app))
    stored = desk.engine.exchange(screen.number)
    assert (stored.job, stored.run, stored.item, stored.replay_of) == (None, None, None, number)


async def test_the_body_is_edited_in_the_editor_and_faults_lose_nothing(
    desk: LiveDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = desk.chat("Why?")
    script = tmp_path / "editor.sh"
    script.write_text('#!/bin/sh\nsed -i "s/Why/Wherefore/; $SUFFIX" "$1"\n')
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(script))
    app = desk.viewer()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        monkeypatch.setattr(type(app), "suspend", lambda self: contextlib.nullcontext())
        app.post_message(OpenReplay(number))
        await until(pilot, lambda: isinstance(app.screen, ReplayScreen))
        monkeypatch.setenv("SUFFIX", "$ s/}//")
        await pilot.press("e")
        await until(pilot, lambda: "The body is not JSON" in screen_text(app))
        assert "e goes on with your text" in screen_text(app) and "line" in screen_text(app)
        monkeypatch.setenv("SUFFIX", "$ s/$/}/")
        await pilot.press("e")
        await until(pilot, lambda: "Wherefore?" in screen_text(app))
        assert "changed" in screen_text(app) and "no JSON" not in screen_text(app)
        await pilot.press("u")
        await until(pilot, lambda: "Why?" in screen_text(app) and "as recorded" in screen_text(app))
        monkeypatch.setenv("SUFFIX", 's/"model": "[^"]*"/"model": "unlisted:1b"/')
        await pilot.press("e")
        await until(pilot, lambda: "unlisted:1b" in screen_text(app))
        assert app.screen.query_one(Grid).cursor_key == "unlisted:1b", "else the list's model would be sent"
        await pilot.press("u")
        await until(pilot, lambda: "unlisted:1b" not in screen_text(app))
        assert app.screen.query_one(Grid).cursor_key == LLAMA
        monkeypatch.setenv("SUFFIX", "")
        await pilot.press("p")
        await until(pilot, lambda: "Wherefore?" in screen_text(app))


def test_a_model_without_a_tag_and_its_latest_are_one() -> None:
    models = (OfferedModel(name="gemma3:4b"), OfferedModel(name="nomic:latest", size_bytes=5, loaded=True))
    rows = model_rows(models, "nomic")
    assert [row.key for row in rows] == ["nomic", "gemma3:4b"]
    assert rows[0].cells[2].text == "loaded"
    assert [row.key for row in model_rows(models, "other")] == ["other", "gemma3:4b", "nomic:latest"]
    assert [row.key for row in model_rows(models, None)] == ["gemma3:4b", "nomic:latest"]


async def test_one_prompt_is_compared_on_several_models(desk: LiveDesk) -> None:
    number = desk.chat("Name three rivers.", num_predict=12)
    app = desk.viewer()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.post_message(OpenComparison(number))
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and "gemma3:4b" in screen_text(app))
        await pilot.press("space", "space", "space")
        await until(pilot, lambda: "3 chosen" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ComparisonScreen))
        await until(pilot, lambda: "3 of 3 have answered" in screen_text(app))
        await pilot.press("down", "space", "down", "space", "d")
        await until(pilot, lambda: isinstance(app.screen, DiffScreen) and app.screen.compared)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ComparisonScreen))


async def test_a_running_exchange_is_ended_through_the_relay_and_its_client_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_desk(tmp_path, monkeypatch, speed=3) as desk, desk.asking("Tell a story.") as (client, number):
        app = desk.viewer()
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await until(pilot, lambda: app.link.mirror is not None)
            app.post_message(CancelRequested(number))
            await until(pilot, lambda: "closes the connection in the relay" in screen_text(app))
            assert "P stops the client's process below" in screen_text(app)
            assert str(client.pid) in screen_text(app), "the tree that would be hit"
            await pilot.press("n")
            await until(pilot, lambda: not isinstance(app.screen, CancelScreen))
            assert desk.engine.exchange(number).state == "running"
            app.post_message(CancelRequested(number))
            await until(pilot, lambda: "closes the connection in the relay" in screen_text(app))
            await pilot.press("y")
            await until(pilot, lambda: "The connection in the relay is closed." in screen_text(app))
            assert "idle again after" in screen_text(app)
            assert desk.engine.exchange(number).state == "aborted"
            assert client.wait(20) == 7, "the client was told, and lives on to say so"


async def test_by_choice_the_process_of_the_client_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_desk(tmp_path, monkeypatch, speed=3) as desk, desk.asking("Tell a story.") as (client, number):
        app = desk.viewer()
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, lambda: app.link.mirror is not None)
            app.post_message(CancelRequested(number))
            await until(pilot, lambda: "P stops the client's process below" in screen_text(app))
            await pilot.press("P")
            await until(pilot, lambda: "1 process stopped." in screen_text(app))
            assert client.wait(20) < 0


async def test_a_replay_is_ended_and_the_server_seen_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_desk(tmp_path, monkeypatch, speed=3) as desk:
        number = desk.chat("Tell a story.", num_predict=3)
        app = desk.viewer()
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await until(pilot, lambda: app.link.mirror is not None)
            app.post_message(OpenReplay(number))
            await until(pilot, lambda: isinstance(app.screen, ReplayScreen))
            await pilot.press("tab", "tab", "tab", "end", "backspace", *"4000", "enter")
            await until(
                pilot, lambda: isinstance(app.screen, ReplayingScreen) and "running" in screen_text(app)
            )
            await pilot.press("x")
            await until(pilot, lambda: "closes the connection of this replay" in screen_text(app))
            await pilot.press("y")
            await until(pilot, lambda: "The server is idle again after" in screen_text(app))
            await pilot.press("escape")
            await until(pilot, lambda: "aborted" in screen_text(app))
