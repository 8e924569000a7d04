"""Sends the request of an exchange again: what will be sent, with quick changes; then the new reply beside the old."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from nightdesk.core.foreign import safe
from nightdesk.core.inspection.replays import (
    QUICK,
    check_request,
    parse_body,
    prompt_place,
    prompt_text,
    quick_values,
    recorded_body,
    with_prompt,
    with_quick,
)
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import OfferedModel, ReplayRequest
from nightdesk.model.units import UNKNOWN, counted, format_bytes
from nightdesk.tui.link import Engine
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("model", "model", flex=1),
    Column("size", "size", width=8, align="right", least=36),
    Column("loaded", "", width=6, least=44),
    Column("edge", ""),
)
FIELDS = ("temperature", "num_ctx", "num_predict", "seed")
PROMPT_SHOWN = 20_000

Known = tuple[Exchange, tuple[OfferedModel, ...] | NightdeskError]


async def request_of(engine: Engine, number: int) -> Known:
    """The exchange, and the models of its server or why they are not known. Raises what keeps it from being sent."""
    exchange = await engine.exchange(number)
    check_request(exchange)
    parse_body(recorded_body(exchange))
    try:
        return exchange, await engine.models_for(number)
    except NightdeskError as fault:
        return exchange, fault


def model_rows(models: tuple[OfferedModel, ...], current: str | None) -> list[Row]:
    """The models of a server; the one of the exchange first."""
    listed = list(models)
    if current:
        # A server lists a model that was asked for without a tag as "latest": one model, named as it was asked for.
        same = (current, f"{current}:latest")
        own = next((model for model in models if model.name in same), OfferedModel(name=current))
        others = [model for model in models if model is not own]
        listed = [msgspec.structs.replace(own, name=current), *others]
    return [
        Row(
            model.name,
            (
                Cell(model.name, "strong" if model.name == current else ""),
                Cell(format_bytes(model.size_bytes), "muted"),
                Cell("loaded" if model.loaded else "", "ok"),
                Cell(""),
            ),
        )
        for model in listed
    ]


class ReplayScreen(Sheet[ReplayRequest]):
    """Answers with what is to be sent, None when the user goes back."""

    TALL = True
    DEFAULT_CSS = """
    ReplayScreen {
        & > #sheet { width: 96%; max-width: 140; height: 94%; max-height: 94%; }
        & > #sheet.-tall { height: 94%; }
        #what { height: auto; max-height: 2; }
        #choices { height: auto; margin: 1 0; }
        Grid { width: 1fr; height: 7; }
        #quick { width: 34; height: auto; margin-left: 2; }
        .field { height: 1; }
        .name { width: 13; color: $text-muted; }
        Input { width: 1fr; }
        Input:disabled { color: $text-disabled; }
        #prompt-title { height: 1; text-wrap: nowrap; }
        #prompt { height: 1fr; }
        #problem { height: auto; max-height: 3; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "send", id="replay.send", tooltip="Send it; also from a field"),
        Binding(
            "e", "edit_body", "edit body", id="replay.edit", tooltip="Edit the whole JSON body in the editor"
        ),
        Binding(
            "p",
            "edit_prompt",
            "edit prompt",
            id="replay.prompt",
            tooltip="Edit the prompt's text in the editor",
        ),
        Binding("tab", "app.focus_next", "fields", id="replay.fields", tooltip="Go to the fields"),
        Binding("u", "undo", "as recorded", id="replay.undo", tooltip="Undo all changes"),
    ]

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.exchange, self.models = known
        self.recorded = parse_body(recorded_body(self.exchange))
        self.body: dict[str, Any] = self.recorded
        self.draft: str | None = None
        """What the editor left that is no JSON: the next edit goes on with it."""

    def compose_sheet(self) -> ComposeResult:
        """Where to, models and fields, the prompt."""
        yield Static(id="what", markup=False)
        with Horizontal(id="choices"):
            yield Grid(COLUMNS, opens=False, marks=True, sign=self.glyphs.cursor)
            with Vertical(id="quick"):
                for name in FIELDS:
                    with Horizontal(classes="field"):
                        yield Static(name, classes="name", markup=False)
                        yield Field(id=name, compact=True)
        yield Static(id="prompt-title", markup=False)
        yield Page(id="prompt")
        yield Static(id="problem", markup=False)

    def on_mount(self) -> None:
        """The request as it was."""
        exchange = self.exchange
        self.show_title(line("Replay of exchange ", Cell(str(exchange.id), "strong")))
        self._show_models(exchange.model)
        self.query_one(Grid).focus()
        if isinstance(self.models, NightdeskError):
            self._tell(self.models.message)
        self._show_body()

    def _show_models(self, current: str | None) -> None:
        """The models, with the cursor on ``current``, also where the server does not list it."""
        models = () if isinstance(self.models, NightdeskError) else self.models
        grid = self.query_one(Grid)
        rows = model_rows(models, current)
        # Half of a tall screen may go to the models: the rest is the prompt's.
        grid.styles.height = max(7, min(len(rows) + 1, self.app.size.height // 2 - 8))
        grid.show_rows(rows)
        grid.cursor = 0

    def _show_body(self) -> None:
        exchange, body = self.exchange, self.body
        size = format_bytes(len(json.dumps(body).encode("utf-8", "replace")))
        state = "as recorded" if body == self.recorded else "changed"
        self.query_one("#what", Static).update(
            line(
                Cell(f"{exchange.method} {exchange.path} ", "strong"),
                Cell(f"to {exchange.server_addr}  {size}  "),
                Cell(state, "muted" if state == "as recorded" else "warn"),
                Cell("  never counted as a job's traffic", "faint"),
            )
        )
        values = quick_values(exchange.dialect, body)
        known = {field.name for field in QUICK[exchange.dialect]}
        for name in FIELDS:
            field = self.query_one(f"#{name}", Input)
            field.disabled = name not in known
            field.placeholder = "not in this dialect" if field.disabled else "the model's own"
            field.value = values.get(name, "")
        text = prompt_text(body)
        cut = f", the first {PROMPT_SHOWN:,} shown" if len(text) > PROMPT_SHOWN else ""
        title = f"{self.glyphs.dash * 2} prompt  {counted(len(text), 'character')}{cut}"
        self.query_one("#prompt-title", Static).update(line(Cell(title, "muted")))
        shown = safe(text[:PROMPT_SHOWN]).expandtabs(4) if prompt_place(body) else UNKNOWN
        self.query_one(Page).show([((row, ""),) if row else () for row in shown.split("\n")], from_top=True)

    def _tell(self, words: str) -> None:
        self.query_one("#problem", Static).update(
            line(Cell(f"{self.glyphs.warn} {words}", "bad")) if words else ""
        )

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters are typed while a field has the focus."""
        typing = isinstance(self.focused, Input)
        return not (typing and action in ("edit_body", "edit_prompt", "undo"))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_send()

    def action_send(self) -> None:
        """Send the request as it stands."""
        try:
            body = self._with_fields()
        except NightdeskError as fault:
            self._tell(fault.message)
            return
        model = self.query_one(Grid).cursor_key
        named = (
            str(model) if isinstance(model, str) and model != body.get("model", body.get("name")) else None
        )
        self.dismiss(
            ReplayRequest(
                exchange=self.exchange.id,
                models=(named,) if named else (),
                body=None if body == self.recorded else body,
            )
        )

    def _with_fields(self) -> dict[str, Any]:
        values = {name: self.query_one(f"#{name}", Input).value for name in FIELDS}
        return with_quick(self.exchange.dialect, self.body, values)

    def action_undo(self) -> None:
        """Back to what was recorded."""
        self.body, self.draft = self.recorded, None
        self._tell("")
        self._show_models(self.exchange.model)
        self._show_body()

    def action_edit_body(self) -> None:
        """The whole body in the editor."""
        try:
            before = self.draft or json.dumps(self._with_fields(), indent=2, ensure_ascii=False)
            text = self._edited("request.json", before)
            self.draft = text
            self.body, self.draft = parse_body(text), None
        except NightdeskError as fault:
            kept = " e goes on with your text." if self.draft is not None else ""
            self._tell(f"{fault.message}{kept}")
            return
        self._tell("")
        self._show_body()
        model = self.body.get("model", self.body.get("name"))
        if isinstance(model, str):
            self._show_models(model)

    def action_edit_prompt(self) -> None:
        """The prompt's text alone."""
        if prompt_place(self.body) is None:
            self._tell("This body holds no prompt that could be edited alone; e edits all of it.")
            return
        try:
            self.body = with_prompt(self._with_fields(), self._edited("prompt.txt", prompt_text(self.body)))
        except NightdeskError as fault:
            self._tell(fault.message)
            return
        self._tell("")
        self._show_body()

    def _edited(self, name: str, text: str) -> str:
        from nightdesk.tui.inspector.outside import command_of, edited

        command = command_of("editor", os.environ, lambda program: shutil.which(program) is not None)
        result = edited(self.app, command, name, text)
        # Editors end a file with a line end that was not typed.
        return result.removesuffix("\n") if result.endswith("\n") and not text.endswith("\n") else result
