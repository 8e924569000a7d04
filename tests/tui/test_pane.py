"""What all panes share: nothing is drawn that did not change."""

from __future__ import annotations

from textual.geometry import Region

from nightdesk.tui.panes.jobs import JobsPane
from nightdesk.tui.panes.pane import Heading
from nightdesk.tui.text import Cell
from tests.support.viewer import FakeEngine, until, viewer


async def test_a_heading_that_says_the_same_draws_nothing_and_another_one_only_the_border(
    engine: FakeEngine,
) -> None:
    app = viewer(engine)
    drawn: list[tuple[Region, ...]] = []
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        pane = app.desk_screen.query_one(JobsPane)
        await until(pilot, lambda: pane.view is not None)
        await pilot.pause()
        paint = pane._set_dirty

        def watched(*regions: Region) -> None:
            drawn.append(regions)
            paint(*regions)

        pane._set_dirty = watched  # type: ignore[method-assign]  # - what is painted can't be seen otherwise
        heading = Heading((Cell("one", "muted"),))
        pane._show_heading(heading)
        assert drawn == [(Region(-1, -1, pane.outer_size.width, 1),)]
        pane._show_heading(Heading((Cell("one", "muted"),)))
        assert len(drawn) == 1
        assert "one" in str(pane.border_title)
