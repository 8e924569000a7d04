"""The live grid: cursor by key, drawing only what changed, thousands of rows, hostile cells."""

from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip

from nightdesk.core.foreign import safe
from nightdesk.tui.text import Cell, fit, tone_css
from nightdesk.tui.widgets.grid import Column, Grid, Row, layout_columns

COLUMNS = (
    Column("name", "name", width=8),
    Column("size", "size", width=6, align="right", least=30),
    Column("words", "words", flex=1),
)


class WatchedGrid(Grid):
    """Remembers which lines it was asked to draw, and which rows it drew."""

    regions: list[Region]
    drawn: list[Row]

    def refresh(self, *regions: Region, **options: Any) -> Any:
        self.__dict__.setdefault("regions", []).extend(regions)
        return super().refresh(*regions, **options)

    def _draw(self, row: Row, width: int, state: str) -> Strip:
        self.__dict__.setdefault("drawn", []).append(row)
        return super()._draw(row, width, state)


class GridApp(App[None]):
    CSS = tone_css()

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.opened: list[Any] = []
        self.titles: list[str] = []

    def compose(self) -> ComposeResult:
        yield WatchedGrid(COLUMNS, **self.options)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        self.opened.append(event.key)

    def on_grid_title_clicked(self, event: Grid.TitleClicked) -> None:
        self.titles.append(event.column)


def rows(*names: str) -> list[Row]:
    return [Row(name, (Cell(name), Cell(str(len(name))), Cell(f"about {name}"))) for name in names]


def numbered(count: int) -> list[Row]:
    return rows(*(f"row{number}" for number in range(count)))


def under_cursor(grid: Grid) -> Any:
    return grid.cursor_key


def lines(grid: Grid) -> list[str]:
    return [grid.render_line(y).text.rstrip() for y in range(grid.size.height)]


async def test_columns_align_and_the_cursor_has_a_sign() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 6)):
        grid = app.query_one(Grid)
        grid.show_rows(rows("a", "bb"))
        grid.focus()
        assert lines(grid)[:3] == [
            " name        size  words",
            "▌a              1  about a",
            " bb             2  about bb",
        ]


async def test_the_cursor_stays_on_its_key_when_rows_move() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        grid = app.query_one(Grid)
        grid.focus()
        grid.show_rows(rows("a", "b", "c"))
        await pilot.press("j")
        grid.show_rows(rows("x", "y", "c", "b", "a"))
        assert under_cursor(grid) == "b" and grid.cursor == 3
        grid.show_rows(rows("x", "y"))
        assert under_cursor(grid) == "y"
        grid.show_rows([])
        assert under_cursor(grid) is None
        grid.show_rows(rows("n"))
        assert under_cursor(grid) == "n"


async def test_a_list_that_grows_at_the_top_is_followed_until_the_cursor_moves() -> None:
    app = GridApp(follow_top=True)
    async with app.run_test(size=(40, 10)) as pilot:
        grid = app.query_one(Grid)
        grid.focus()
        grid.show_rows(rows("b", "a"))
        grid.show_rows(rows("c", "b", "a"))
        assert under_cursor(grid) == "c"
        await pilot.press("down")
        grid.show_rows(rows("d", "c", "b", "a"))
        assert under_cursor(grid) == "b" and grid.cursor == 2


async def test_only_lines_that_changed_are_drawn_again() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        grid = app.query_one(WatchedGrid)
        grid.show_rows(rows("a", "b", "c"))
        await pilot.pause()
        grid.regions = []
        grid.show_rows(rows("a", "b", "c"))
        assert grid.regions == []
        changed = rows("a", "b", "c")
        changed[1] = Row("b", (Cell("b"), Cell("9"), Cell("new")))
        grid.show_rows(changed)
        assert [region.y for region in grid.regions] == [2]


async def test_ten_thousand_rows_draw_only_what_is_seen() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 12)) as pilot:
        grid = app.query_one(WatchedGrid)
        grid.focus()
        grid.drawn = []
        grid.show_rows(numbered(10_000))
        await pilot.pause()
        assert 0 < len(grid.drawn) <= 24
        await pilot.press("G")
        await pilot.pause()
        assert "row9999" in "".join(lines(grid))
        assert len(grid.drawn) <= 60


async def test_keys_move_by_rows_and_pages() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 11)) as pilot:
        grid = app.query_one(Grid)
        grid.focus()
        grid.show_rows(numbered(100))
        await pilot.press("j", "down", "k")
        assert grid.cursor == 1
        await pilot.press("pagedown")
        assert grid.cursor == 11
        await pilot.press("ctrl+d", "ctrl+u", "pageup")
        assert grid.cursor == 1
        await pilot.press("end")
        assert grid.cursor == 99
        await pilot.press("j")
        assert grid.cursor == 99
        await pilot.press("home")
        assert grid.cursor == 0


async def test_enter_and_a_double_click_open_a_row_and_titles_can_be_clicked() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        grid = app.query_one(Grid)
        grid.focus()
        grid.show_rows(rows("a", "b", "c"))
        await pilot.press("enter")
        await pilot.click(Grid, offset=(3, 3))
        assert under_cursor(grid) == "c"
        await pilot.click(Grid, offset=(3, 2), times=2)
        assert app.opened == ["a", "b"]
        await pilot.click(Grid, offset=(14, 0))
        assert app.titles == ["size"]


async def test_narrow_grids_drop_columns_and_cut_with_a_mark() -> None:
    app = GridApp()
    async with app.run_test(size=(24, 6)):
        grid = app.query_one(Grid)
        grid.show_rows(rows("a name that is long"))
        assert lines(grid)[1] == "▌a name …  about a name…"


async def test_matches_of_the_filter_are_marked() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 6)):
        grid = app.query_one(Grid)
        grid.show_rows(rows("abc"))
        plain = grid.get_component_rich_style("grid--match").bgcolor
        grid.needle = "BC"
        marked = [s.text for s in grid.render_line(1) if s.style is not None and s.style.bgcolor == plain]
        assert marked == ["bc", "bc"]


async def test_hostile_cells_are_harmless_and_keep_the_columns_in_line() -> None:
    app = GridApp()
    bad = ["\x1b]52;c;eA==\x07", "\x1b[2J[/]", "a\nb\tc\r", "\u202eabc", "東京" * 40, "x" * 10_000_000]
    async with app.run_test(size=(40, 12)):
        grid = app.query_one(Grid)
        grid.show_rows(
            [Row(index, (Cell(text, "bad", ((text, "ok"),)),) * 3) for index, text in enumerate(bad)]
        )
        for y in range(grid.size.height):
            strip = grid.render_line(y)
            assert strip.cell_length == 40
            assert safe(strip.text) == strip.text and "\n" not in strip.text


def test_flexible_columns_share_what_is_left() -> None:
    columns = (Column("a", "", width=5), Column("b", "", flex=1), Column("c", "", flex=2))
    assert [width for _, _, width in layout_columns(columns, 40, 1)] == [5, 10, 20]


def test_text_is_cut_or_filled_to_its_width() -> None:
    assert fit("abc", 5, "left") == "abc  "
    assert fit("abc", 5, "right") == "  abc"
    assert fit("abcdef", 4, "left") == "abc…"
    assert fit("東京東京", 4, "left") == "東 …"
    assert fit("abc", 0, "left") == ""


async def test_the_last_cell_of_a_shorter_row_runs_on() -> None:
    app = GridApp()
    async with app.run_test(size=(50, 10)) as pilot:
        grid = app.query_one(Grid)
        grid.show_rows(
            [Row(1, (Cell("one"), Cell("2"), Cell("three"))), Row(2, (Cell("two"), Cell("long words")))]
        )
        await pilot.pause()
        _, whole, short, *_ = lines(grid)
        assert whole.split()[-2:] == ["2", "three"]
        assert short.index("long words") == short.index("two") + 10
