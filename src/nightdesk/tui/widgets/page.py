"""A page of text, wrapped at the width, for prompts, replies and bodies of any size."""

from __future__ import annotations

from collections.abc import Sequence

from nightdesk.tui.widgets.lines import LineView, Pieces, wrap


class Page(LineView):
    """Shows lines; long ones go on in the next row. Lines seen before are not wrapped again."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.lines: Sequence[Pieces] = ()
        self._rows: list[Pieces] = []
        self._wrapped: dict[Pieces, list[Pieces]] = {}
        self._width = 0

    @property
    def count(self) -> int:
        """Rows after wrapping."""
        return len(self._rows)

    def pieces(self, index: int) -> Pieces:
        """One row."""
        return self._rows[index]

    @property
    def plain(self) -> str:
        """The whole text as shown."""
        return "\n".join("".join(text for text, _ in line) for line in self.lines)

    def show(self, lines: Sequence[Pieces], *, from_top: bool = False) -> None:
        """Show ``lines``. Whoever looks at the end goes on looking at the end, unless ``from_top``."""
        follows = self.at_end and self.max_scroll_y > 0
        if lines == self.lines and not from_top:
            return
        self.lines = lines
        self._wrap()
        if from_top:
            self.column = 0
            self.scroll_to(y=0, animate=False, immediate=True)
        elif follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def on_resize(self) -> None:
        """Another width is another wrapping."""
        if self.size.width != self._width:
            self._wrapped = {}
            self._wrap()

    def _wrap(self) -> None:
        self._width = self.size.width
        known, self._wrapped = self._wrapped, {}
        self._rows = []
        for line in self.lines:
            rows = known.get(line) or wrap(line, max(1, self._width))
            self._wrapped[line] = rows
            self._rows += rows
        self.show_count()
