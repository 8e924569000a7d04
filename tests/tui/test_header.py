"""The first line of the screen: what stays where there is little room."""

from __future__ import annotations

from nightdesk.model.desk import ModelServer
from nightdesk.model.exchange import ExchangeRow
from nightdesk.tui.asks import VerdictsSeen
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.link import LinkState
from nightdesk.tui.text import Cell
from nightdesk.tui.widgets.header import Fact, fitting, select
from tests.support.viewer import NOW, FakeEngine, mirror, screen_lines, until, viewer


def test_what_asks_for_attention_stays_and_the_rest_gets_short() -> None:
    facts = [
        Fact(Cell("server with many words"), Cell("server")),
        Fact(Cell("1 orphan", "warn")),
        Fact(Cell("more")),
    ]
    assert [cell.plain for cell in fitting(facts, 60, 3)] == ["server with many words", "1 orphan", "more"]
    assert [cell.plain for cell in fitting(facts, 27, 3)] == ["server", "1 orphan", "more"]
    assert [cell.plain for cell in fitting(facts, 12, 3)] == ["1 orphan"]
    assert fitting(facts, 5, 3) == []


def test_a_server_without_models_says_that_none_is_loaded() -> None:
    server = ModelServer(address="127.0.0.1:11434", state="up", version="0.12.6", at_ns=NOW)
    view = select(mirror(servers=(server,)), "desk", LinkState("live"), NOW, UNICODE)
    assert "ollama 0.12.6 · no model loaded" in [fact.words.plain for fact in view.facts]


def test_a_viewer_without_engine_says_which_key_starts_one() -> None:
    view = select(mirror(), "desk", LinkState("lost"), NOW, UNICODE)
    assert view.facts[0] == Fact(Cell("✗ no engine: ctrl+r starts one", "bad"), Cell("✗ no engine", "bad"))


async def test_an_orphan_is_told_at_eighty_columns(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1 orphan" in screen_lines(app)[0])
        assert "2 verdicts" in screen_lines(app)[0]
        assert screen_lines(app)[0].rstrip().endswith("02:14:07")


def test_verdicts_that_were_looked_at_are_not_told_again() -> None:
    def told(seen: int) -> list[str]:
        view = select(mirror(), "desk", LinkState("live"), NOW, UNICODE, seen)
        return [fact.words.plain for fact in view.facts if "verdict" in fact.words.plain]

    assert told(0) == ["▲ 2 verdicts"]
    assert told(1) == ["▲ 1 verdict"]
    assert told(2) == []
    assert told(9) == ["▲ 2 verdicts"], "the engine was started again"


def test_an_alarm_of_a_running_reply_is_told_first() -> None:
    row = ExchangeRow(
        id=7,
        state="running",
        started_ns=NOW,
        operation="chat",
        dialect="ollama",
        model="qwen3:8b",
        fragments=9,
        verdicts=("loop",),
        tail="",
    )
    view = select(mirror(exchanges=(row,)), "desk", LinkState("live"), NOW, UNICODE)
    alarm = next(fact for fact in view.facts if "loop" in fact.words.plain)
    assert (alarm.words.plain, alarm.words.tone) == ("▲ loop now: qwen3:8b", "bad")
    assert alarm.short and alarm.short.plain == "▲ loop now"


async def test_looking_at_a_verdict_quietens_the_header(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "2 verdicts" in screen_lines(app)[0])
        app.post_message(VerdictsSeen())
        await until(pilot, lambda: "verdict" not in screen_lines(app)[0])
