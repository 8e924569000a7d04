"""The outputs of a job and what its rules say of them: a list to look through and flag, scores, the course."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, Run, StartRun
from nightdesk.model.outputs import OutputPage, OutputResult, OutputsFlagged, OutputState, Rule
from nightdesk.model.units import NS
from nightdesk.tui.asks import Ask, FeedRequested, StartRequested
from nightdesk.tui.screens.output_rows import (
    COLUMNS,
    HISTOGRAM_CELLS,
    about,
    counts_line,
    course,
    evidence,
    histogram,
    result_row,
    rules_line,
)
from nightdesk.tui.text import Cell, Part, content, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.sheet import Sheet

REFRESH_NS = 2 * NS
SHOWN_MOST = 1000
TALL_FROM = 36
"""Lines from which there is room for taller bars and more evidence."""
VIEWS: tuple[tuple[str, tuple[OutputState, ...], bool], ...] = (
    ("all", (), False),
    ("failed", ("failed",), False),
    ("doubtful", ("doubtful",), False),
    ("unknown", ("unknown",), False),
    ("passed", ("passed",), False),
    ("flagged", (), True),
)
"""Name, states, only flagged ones: the lists that ``v`` goes through."""


class OutputsScreen(Sheet[None]):
    """The list, what the rules say of the output under the cursor, scores, pass and fail over time."""

    TALL = True
    HELP = """
## Outputs and their rules

One line for each output of the job, the worst first: ✗ breaks a rule, ⚠ breaks one that only warns, ? a rule could
not be applied, ✓ is as it should be. **score** is the mean of its rules, 0 to 1. Below, what each rule says of the
output under the cursor.

At the bottom: how many outputs have which score, and pass and fail over time. A column is one result, or several next
to each other; its bar is the share that failed, a dot says that all passed.

`f` flags an output: you do not believe it, so the next run, and `r`, do its item again. `l` looks at the output once
more, `L` at all of them, as they lie there now. `r` does all again that fail or are flagged.

Rules stand in `nightdesk.toml`, in `[jobs.NAME.validate]`.
"""
    DEFAULT_CSS = """
    OutputsScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #output-counts, #output-rules, #output-about { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #words { display: none; height: 1; border: none; padding: 0; background: $boost; }
        #words.-open { display: block; }
        #output-list { height: 1fr; margin-top: 1; }
        #output-about { margin-top: 1; }
        #output-evidence { height: auto; max-height: 12; }
        #output-charts { layout: horizontal; height: auto; margin-top: 1; }
        #output-scores { width: 33; height: auto; text-wrap: nowrap; }
        #output-course { width: 1fr; height: auto; text-wrap: nowrap; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "flag", "flag", id="outputs.flag", tooltip="Flag the output, or take the flag away"),
        Binding("v", "view(1)", "state", id="outputs.state", tooltip="Outputs of the next state, then flagged ones"),
        Binding("V", "view(-1)", "Previous state", show=False, id="outputs.state_before"),
        Binding("c", "rule(1)", "rule", id="outputs.rule", tooltip="Show the outputs that break the next rule"),
        Binding("C", "rule(-1)", "Previous rule", show=False, id="outputs.rule_before"),
        # At once, so that what is typed right behind it is text already.
        Binding("slash", "words", "filter", key_display="/", priority=True, id="outputs.filter"),
        Binding("l", "look", "look again", id="outputs.look", tooltip="Apply the rules to this output now"),
        Binding("L", "look_all", "look at all", id="outputs.look_all", tooltip="Apply the rules to all outputs now"),
        Binding("a", "again", "again", id="outputs.again", tooltip="Do the item of this output again"),
        Binding("r", "retry", "redo bad", id="outputs.retry", tooltip="Do all again that fail or are flagged"),
        Binding("y", "copy", "copy path", id="outputs.copy", tooltip="Copy the path of the output"),
    ]  # fmt: skip

    def __init__(self, job: str) -> None:
        super().__init__()
        self.job = job
        self.page: OutputPage | None = None
        self._view = 0
        self._rule: Rule | None = None
        self._text = ""
        self._run: Run | None = None
        self._drives_items = False
        """The job can be asked for single items."""
        self._asked_ns = 0
        self._asking = 0
        self._fault = ""
        self._looking = 0
        """Outputs that are still to be looked at by hand."""

    def compose_sheet(self) -> ComposeResult:
        """Counts, the words to look for, the list, evidence, charts."""
        yield Static(id="output-counts", markup=False)
        yield Static(id="output-rules", markup=False)
        yield Field(placeholder="words in names and evidence", compact=True, id="words")
        yield Grid(COLUMNS, sign=self.glyphs.cursor, opens=False, id="output-list")
        yield Static(id="output-about", markup=False)
        yield Static(id="output-evidence", markup=False)
        with Container(id="output-charts"):
            yield Static(id="output-scores", markup=False)
            yield Static(id="output-course", markup=False)

    def on_mount(self) -> None:
        """Ask at once."""
        self.show_title(line("Outputs of ", Cell(self.job, "strong")))
        self.query_one("#output-counts", Static).update(line(Cell("Reading …", "muted")))
        self.grid.focus()
        self._ask()
        self.app.post_message(FeedRequested())

    def on_resize(self) -> None:
        """Charts are drawn for a width."""
        self.call_after_refresh(self._draw)

    @property
    def grid(self) -> Grid:
        """The list."""
        return self.query_one("#output-list", Grid)

    @property
    def result(self) -> OutputResult | None:
        """The output under the cursor."""
        rows = self.page.rows if self.page is not None else ()
        return rows[self.grid.cursor] if 0 <= self.grid.cursor < len(rows) else None

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask again while a run of the job goes on, and once more when it has ended."""
        if desk is None or not self.query("#output-list"):
            return
        job = desk.jobs.get(self.job)
        self._drives_items = job is not None and job.drives_items
        before, runs = self._run, [run for run in desk.runs.values() if run.job == self.job]
        self._run = max(runs, key=lambda run: run.created_ns, default=None)
        goes_on = self._run is not None and self._run.state not in ENDED
        if (goes_on or self._run != before) and now_ns >= self._asked_ns + REFRESH_NS:
            self._asked_ns = now_ns
            self._ask()

    def _ask(self) -> None:
        job, (_, states, flagged) = self.job, VIEWS[self._view]
        state, rule, text = ",".join(states), self._rule or "", self._text
        self._asking += 1
        number = self._asking

        def take(answer: Any | NightdeskError) -> None:
            if number == self._asking:  # an older one is about another list
                self._take(answer)

        def call(engine: Any) -> Any:
            return engine.outputs(job, state=state, rule=rule, text=text, flagged=flagged, limit=SHOWN_MOST)

        self.post_message(Ask(call, take))

    def _take(self, answer: Any | NightdeskError) -> None:
        if not self.query("#output-list"):
            return
        if isinstance(answer, OutputPage):
            self.page, self._fault = answer, ""
        else:
            self._fault = str(answer)
        self._draw()

    # Drawing

    def _draw(self) -> None:
        page = self.page
        if not self.query("#output-list"):
            return
        if page is None or self._fault:
            words = Cell(
                f"{self.glyphs.fail} {self._fault}" if self._fault else "Reading …",
                "bad" if self._fault else "muted",
            )
            self.query_one("#output-counts", Static).update(line(words))
            return
        name, states, _ = VIEWS[self._view]
        self.query_one("#output-counts", Static).update(
            line(*counts_line(page, states, self.glyphs), *self._doing())
        )
        self.query_one("#output-rules", Static).update(line(*rules_line(page, self._rule, self.glyphs)))
        self.grid.show_rows([result_row(each, self.glyphs) for each in page.rows])
        cut = (
            f"the first {SHOWN_MOST:,} of {page.total:,}"
            if page.total > len(page.rows)
            else f"{page.total:,}"
        )
        chosen = [name] if self._view else []
        chosen += [f"breaks {self._rule}"] if self._rule else []
        self.query_one("#sheet").border_subtitle = line(
            Cell(f"{cut} {' and '.join(chosen)}".strip(), "muted")
        )
        self._show_charts(page)
        self._show_evidence()

    def _doing(self) -> list[Part]:
        if self._looking:
            return [Cell(f"{self.glyphs.wait} {self._looking} still to be looked at", "accent")]
        return []

    def _show_charts(self, page: OutputPage) -> None:
        height = 3 if self.app.size.height >= TALL_FROM else 1
        scores = histogram(page, height, self.glyphs)
        self.query_one("#output-scores", Static).update(_joined(scores))
        width = self.query_one("#sheet").size.width - HISTOGRAM_CELLS - 6
        self.query_one("#output-course", Static).update(
            _joined(course(page.course, width, height, self.glyphs))
        )

    @on(Grid.Moved)
    def _show_evidence(self) -> None:
        if not self.query("#output-evidence"):
            return
        result = self.result
        told, lines = self.query_one("#output-about", Static), self.query_one("#output-evidence", Static)
        if result is None:
            empty = self.page is not None and not self.page.counts
            words = (
                "No output was looked at yet: that happens after each item, and with L."
                if empty
                else "No output is like that."
            )
            told.update(line(Cell(words, "muted")))
            lines.update("")
        else:
            told.update(line(*about(result, self.glyphs)))
            most = 12 if self.app.size.height >= TALL_FROM else 4
            found = evidence(result, self.glyphs)
            if len(found) > most:
                found = [
                    *found[: most - 1],
                    [Cell(f"{self.glyphs.done} {len(found) - most + 1} more", "muted")],
                ]
            lines.update(_joined(found))
        self.refresh_bindings()

    # What is listed

    def action_view(self, step: int) -> None:
        """The outputs of the next state that occurs, then those that are flagged."""
        counts = self.page.counts if self.page is not None else {}
        flagged = self.page.flagged if self.page is not None else 0
        some = [
            place
            for place, (_, states, only_flagged) in enumerate(VIEWS)
            if place in (0, self._view)
            or (flagged and only_flagged)
            or any(counts.get(each) for each in states)
        ]
        self._view = some[(some.index(self._view) + step) % len(some)]
        self._list()

    def action_rule(self, step: int) -> None:
        """The outputs that break the next rule that is broken at all; after the last one, all."""
        broken: list[Rule | None] = [None, *(self.page.rules if self.page is not None else ())]
        here = broken.index(self._rule) if self._rule in broken else 0
        self._rule = broken[(here + step) % len(broken)]
        self._list()

    def _list(self) -> None:
        self.grid.action_to_top()
        self._ask()

    def action_words(self) -> None:
        """Type words to look for."""
        field = self.query_one("#words", Input)
        field.add_class("-open")
        self.set_focus(field)

    @on(Input.Changed, "#words")
    def _typed(self, event: Input.Changed) -> None:
        if event.value.strip() != self._text:
            self._text = event.value.strip()
            self._list()

    @on(Input.Submitted, "#words")
    def _typing_done(self) -> None:
        self.query_one("#words", Input).set_class(bool(self._text), "-open")
        self.set_focus(self.grid)

    def action_close(self) -> None:
        """Clear the words first, then the choice of a rule and a state, then go back."""
        field = self.query_one("#words", Input)
        if field.has_class("-open"):
            field.value = ""
            field.remove_class("-open")
            self.set_focus(self.grid)
        elif self._rule is not None or self._view:
            self._rule, self._view = None, 0
            self._list()
        else:
            self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that make sense for the list."""
        if action == "words":
            return not isinstance(self.focused, Input)
        if action in ("flag", "look", "again", "copy") and self.query("#output-list"):
            return self.result is not None
        if action in ("again", "retry") and not self._drives_items:
            return False  # its script decides what it does
        if action == "retry":
            return self.page is not None and bool(self.page.counts.get("failed") or self.page.flagged)
        return super().check_action(action, parameters)

    # Deeds

    def action_flag(self) -> None:
        """Flag the output, or take the flag away."""
        result = self.result
        if result is not None:
            flags = OutputsFlagged(items=(result.item,), flagged=not result.flagged)
            self.post_message(Ask(lambda engine: engine.flag_outputs(self.job, flags), self._done))

    def _done(self, answer: Any | NightdeskError) -> None:
        if isinstance(answer, NightdeskError):
            self.notify(str(answer), severity="error", markup=False)
        elif self.query("#output-list"):
            self._ask()

    def action_look(self) -> None:
        """Apply the rules to this output now."""
        if self.result is not None:
            self._look((self.result.item,))

    def action_look_all(self) -> None:
        """Apply the rules to all outputs now."""
        if not self._looking:
            self.post_message(Ask(lambda engine: engine.output_items(self.job), self._look))

    def _look(self, items: tuple[str, ...] | NightdeskError) -> None:
        """A few at a time, so that what is found is seen while it goes on."""
        if isinstance(items, NightdeskError):
            self.notify(str(items), severity="error", markup=False)
            items = ()
        if not self.query("#output-list"):
            return
        few, rest = items[:20], items[20:]
        self._looking = len(items)
        if few:
            self.post_message(
                Ask(
                    lambda engine: engine.look_at_outputs(self.job, few),
                    lambda answer: self._looked(answer, rest),
                )
            )
        self._draw()

    def _looked(self, answer: Any | NightdeskError, rest: tuple[str, ...]) -> None:
        self._look(answer if isinstance(answer, NightdeskError) else rest)
        if self.query("#output-list"):
            self._ask()

    def action_again(self) -> None:
        """Do the item of this output again."""
        if self.result is not None:
            self.post_message(StartRequested(StartRun(job=self.job, items=(self.result.item,), again=True)))

    def action_retry(self) -> None:
        """Do all again that fail or are flagged."""
        job = self.job

        async def bad(engine: Any) -> tuple[str, ...]:
            failed = await engine.outputs(job, state="failed", limit=SHOWN_MOST)
            flagged = await engine.outputs(job, flagged=True, limit=SHOWN_MOST)
            return tuple(dict.fromkeys(each.item for each in (*failed.rows, *flagged.rows)))

        def start(items: tuple[str, ...] | NightdeskError) -> None:
            if isinstance(items, NightdeskError):
                self.notify(str(items), severity="error", markup=False)
            elif items:
                self.post_message(StartRequested(StartRun(job=job, items=items, again=True)))

        self.post_message(Ask(bad, start))

    def action_copy(self) -> None:
        """Copy the path of the output."""
        if self.result is not None:
            from nightdesk.tui.log_outside import copy_text

            self.run_worker(copy_text(self.app, "Path", self.result.path), exit_on_error=False)


def _joined(lines: list[list[Part]]) -> Any:
    parts = [part for each in lines for part in (*each, "\n")]
    return content(*parts[:-1])
