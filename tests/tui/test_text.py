"""The door for foreign text, and the plain signs."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color

from nightdesk.core.foreign import safe
from nightdesk.tui.glyphs import ASCII, UNICODE, PlainFilter, SafeFilter
from nightdesk.tui.text import BLOCK_LIMIT, TONES, Cell, cell, content, line, tone_css
from nightdesk.tui.widgets.meter import format_rate, progress_bar
from nightdesk.tui.widgets.tabs import labels_of

BLACK = Color(0, 0, 0)
HOSTILE = "\x1b]52;c;aGk=\x07[/]\x9b2J\u202e[@click=app.quit]x[/]\r\n\tend"


def test_content_is_harmless_and_keeps_brackets_as_text() -> None:
    plain = content(HOSTILE, Cell(HOSTILE, "bad", ((HOSTILE, "ok"),))).plain
    assert safe(plain) == plain
    assert plain.count("[@click=app.quit]x[/]") == 3


def test_content_keeps_line_ends_and_line_makes_them_blanks() -> None:
    assert content("a\nb").plain == "a\nb"
    assert line("a\nb", Cell("c\td", "ok", (("e\nf", ""),))).plain == "a bc de f"


def test_a_block_that_would_hold_up_the_screen_is_cut_and_marked() -> None:
    plain = content("x" * 10_000_000).plain
    assert len(plain) == BLOCK_LIMIT and plain.endswith("…")


def test_a_cell_is_one_line_of_bounded_length() -> None:
    assert cell("a\nb\x1b[31m" + "x" * 10_000_000).text.startswith("a b�[31mxx")
    assert len(cell("x" * 10_000_000, limit=100).text) == 100


def test_every_tone_has_a_rule_of_the_style_sheet() -> None:
    css = tone_css()
    assert all(f".tone--{tone} " in css for tone in TONES if tone)
    assert "#" not in css


def test_every_sign_has_a_plain_one_of_the_same_length() -> None:
    for name in UNICODE.__slots__:
        plain = getattr(ASCII, name)
        assert plain.isascii()
        assert len(plain) == len(getattr(UNICODE, name))


def test_the_last_filter_replaces_control_characters_whatever_a_widget_does() -> None:
    dirty, clean = Segment("a\x1b[2Jb"), Segment("clean")
    result = SafeFilter().apply([dirty, clean], BLACK)
    assert result[0].text == "a�[2Jb"
    assert result[1] is clean


def test_plain_lines_keep_their_width() -> None:
    drawn = "╭─ 1 Jobs ─╮│▶ ███░░ ⣿ … –"
    assert PlainFilter(strict=False).plain(drawn) == "+- 1 Jobs -+|> ###.. * ~ -"
    assert PlainFilter(strict=False).plain("東京") == "東京"
    assert PlainFilter(strict=True).plain("東京é") == "?????"


def test_the_bar_is_exact_to_an_eighth_of_a_cell() -> None:
    assert progress_bar(0.5, 4, UNICODE).plain == "██░░"
    assert progress_bar(1 / 32, 4, UNICODE).plain == "▏░░░"
    assert progress_bar(1.0, 4, UNICODE).plain == "████"
    assert progress_bar(7.0, 4, UNICODE).plain == "████"
    assert progress_bar(None, 4, UNICODE).plain == "░░░░"
    assert all(len(progress_bar(n / 97, 10, UNICODE).plain) == 10 for n in range(98))


def test_rates_are_told_in_the_span_that_gives_a_readable_number() -> None:
    assert format_rate(3.21, "it") == "3.2 it/s"
    assert format_rate(0.5, "it") == "30 it/min"
    assert format_rate(0.0035, "file") == "13 file/h"
    assert format_rate(0.0001, "file") == "0.4 file/h"
    assert format_rate(None, "it") == "–"


def test_tab_names_get_short_before_one_is_left_out() -> None:
    names = [(1, "Jobs"), (2, "Accelerators"), (3, "Traffic")]
    assert labels_of(names, 1, 80) == (["[1 Jobs]", " 2 Accelerators ", " 3 Traffic "], "  ")
    assert labels_of(names, 1, 36) == (["[1 Jobs]", " 2 Accelerators ", " 3 Traffic "], "")
    assert labels_of(names, 1, 27) == (["[1 Jobs]", " 2 Accel ", " 3 Traff "], "")
    assert labels_of(names, 2, 27)[0][1] == "[2 Accelerators]"
