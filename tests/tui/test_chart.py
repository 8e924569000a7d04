"""Bars, spark lines and the chart: what they say about measured, unknown and missing values."""

from __future__ import annotations

import asyncio
import threading

import pytest

from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.link import in_thread
from nightdesk.tui.widgets.bar import span_bar
from nightdesk.tui.widgets.chart import (
    ChartView,
    Pieces,
    Series,
    bands,
    dots,
    draw_chart,
    legend_of,
    load_plotext,
    nice_top,
)
from nightdesk.tui.widgets.spark import buckets, spark

NS = 10**9
NOW = 1_763_691_247 * NS


def series(*points: tuple[int, float | None], label: str = "GPU active", top: float = 100) -> Series:
    """Points given as (seconds ago, value)."""
    return Series(label, " %", "primary", top, tuple((NOW - ago * NS, value) for ago, value in points))


def view(*lines: Series) -> ChartView:
    return ChartView(lines, NOW)


def text_of(lines: list[Pieces]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def braille(text: str) -> str:
    return "".join(sign for sign in text if 0x2800 < ord(sign) <= 0x28FF)


def test_a_band_reaches_from_the_least_to_the_greatest_value_of_its_time() -> None:
    line = series((590, 50.0), (300, 40.0), (299, 60.0))._replace(ranges=((NOW - 590 * NS, 10.0, 95.0),))
    found = bands(line, view(line), 10)
    assert [(low, high) for _, low, high in found] == [(10.0, 95.0), (40.0, 60.0)]
    assert [round(x, 1) for x, _, _ in found] == [-9.5, -4.5]
    calm = series((300, 40.0), (299, 40.2))
    assert bands(calm, view(calm), 10) == [], "a line tells as much"


def test_a_band_is_drawn_behind_the_line_where_points_are_means() -> None:
    line = series(*((600 - 10 * at, 50.0) for at in range(61)))
    line = line._replace(ranges=tuple((at, 5.0, 95.0) for at, _ in line.points))
    plotext = load_plotext()
    plain = draw_chart(plotext, view(line), 60, 12)
    banded = draw_chart(plotext, view(line)._replace(step_ns=10 * NS), 60, 12)
    assert len(braille("".join(text_of(banded)))) > 3 * len(braille("".join(text_of(plain))))
    tones = {tone for pieces in banded for text, tone in pieces if braille(text)}
    assert tones == {"muted", "primary"}
    assert "mean between" in "".join(
        text for text, _ in legend_of(view(line)._replace(step_ns=10 * NS), UNICODE)
    )


def test_a_spark_line_tells_zero_from_unknown() -> None:
    assert spark([0.0, None, 1.0], 3, UNICODE) == "▁ █"


def test_a_spark_line_shows_the_newest_values_at_its_right_end() -> None:
    assert spark([1.0, 0.5], 4, UNICODE) == "  █▅"
    assert spark([0.0] * 9 + [1.0], 2, UNICODE) == "▁█"
    assert spark([1.0], 0, UNICODE) == ""


def test_values_beyond_the_scale_stay_on_it() -> None:
    assert spark([-5.0, 7.0], 2, UNICODE) == "▁█"
    assert spark([3.0], 1, UNICODE, top=0) == "▁"
    assert spark([0.2, 1.0], 2, ASCII).isascii()


def test_buckets_are_means_and_none_where_nothing_was_measured() -> None:
    points = [(NOW - 25 * NS, 1.0), (NOW - 24 * NS, 0.0), (NOW - 3 * NS, None), (NOW, 0.5)]
    assert buckets(points, NOW, 10 * NS, 3) == (0.5, None, 0.5)


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        (0.0, 1.0, ("", "█" * 8, "")),
        (0.0, 0.5, ("", "████", "    ")),
        (0.5, 1.0, ("    ", "████", "")),
        (0.0, 0.0001, ("", "▏", "       ")),
        (1.0, 1.0, ("       ", "█", "")),
        (0.25, 0.5625, ("  ", "██▌", "   ")),
        (-3.0, 9.0, ("", "█" * 8, "")),
    ],
)
def test_a_span_bar_lies_where_the_time_was_spent(
    start: float, end: float, parts: tuple[str, str, str]
) -> None:
    assert span_bar(start, end, 8, UNICODE) == parts


def test_a_scale_ends_at_a_round_number_above_the_highest_value() -> None:
    assert [nice_top(value) for value in (0.3, 1, 7, 31, 82, 421, 999)] == [1, 1, 8, 40, 100, 500, 1000]


def test_a_line_breaks_where_samples_are_missing_or_unknown() -> None:
    points: list[tuple[int, float | None]] = [(ago, 50.0) for ago in range(500, 300, -1)]
    points += [(ago, 50.0) for ago in range(200, 100, -1)]
    points += [(ago, None) for ago in range(100, 50, -1)]
    points += [(ago, 50.0) for ago in range(50, -1, -1)]
    found = dots(series(*points), view(), 120)
    starts = [dot for dot in found if not dot.joined]
    assert len(starts) == 3
    assert len(found) <= 120
    assert all(dot.y == 50.0 and -10 <= dot.x <= 0 for dot in found)


def test_a_chart_has_exactly_the_size_asked_for_and_names_its_scales() -> None:
    active = series(*((ago, 60.0) for ago in range(600, -1, -1)))
    power = series(*((ago, 30.0) for ago in range(600, -1, -1)), label="GPU power", top=50)._replace(
        unit=" W", tone="warn"
    )
    lines = draw_chart(load_plotext(), view(active, power), 70, 8)
    text = text_of(lines)
    assert [len(line) for line in text] == [70] * 8
    assert "100 %" in text[0] and "50 W" in text[0]
    assert "10m" in text[-1] and "now" in text[-1]
    assert braille("".join(text))
    assert not any("\x1b" in line for line in text)
    tones = {tone for line in lines for piece, tone in line if braille(piece)}
    assert tones == {"primary", "warn"}


def test_two_charts_do_not_remember_each_other() -> None:
    plotext = load_plotext()
    full = view(series(*((ago, 90.0) for ago in range(600, -1, -1))))
    before = draw_chart(plotext, full, 60, 6)
    draw_chart(plotext, view(series((600, 10.0), (0, 10.0)), series((300, 50.0))), 40, 5)
    assert draw_chart(plotext, full, 60, 6) == before


@pytest.mark.parametrize("points", [(), ((300, None),), ((0, 5.0),), ((700, 5.0),)])
def test_a_chart_with_next_to_nothing_to_show_is_drawn_all_the_same(
    points: tuple[tuple[int, float | None], ...],
) -> None:
    assert len(draw_chart(load_plotext(), view(series(*points)), 40, 5)) == 5


def test_the_legend_tells_the_lines_apart_without_colour() -> None:
    shown = view(series(), series(label="GPU power"))
    assert "".join(text for text, _ in legend_of(shown, UNICODE)) == (
        "── GPU active   ·· GPU power   last 10 min"
    )


def test_work_that_ends_after_the_viewer_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, said = threading.Event(), list[object]()
    monkeypatch.setattr(threading, "excepthook", said.append)

    async def leave_at_once() -> None:
        waiting = asyncio.ensure_future(in_thread(lambda: go_on.wait(30)))
        await asyncio.sleep(0)
        waiting.cancel()

    before = set(threading.enumerate())
    asyncio.run(leave_at_once())
    (thread,) = set(threading.enumerate()) - before
    go_on.set()
    thread.join(30)
    assert said == []
