"""The faults of the demo's batch, each told live by a real engine that watches a real model server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.demo.desk import make_desk
from nightdesk.model.desk import ExchangeChanged, RunChanged, Snapshot
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import ENDED, StartRun
from tests.support.world import until

SERVE = [sys.executable, "-m", "nightdesk.cli.main", "demo", "--server-only", "--speed", "400"]
DESERVED = {
    ("03", "bad_json"),
    ("05", "context_cut"),
    ("09", "reply_cut"),
    ("09", "bad_json"),
    ("11", "loop"),
    ("12", "whitespace_loop"),
    ("12", "bad_json"),
    ("13", "stalled"),
    ("15", "model_reload"),
    ("16", "model_reload"),
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The demo's desk with sixteen items and a server of its own; a relay needs no rights."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        folder = tmp_path / "demo"
        config = make_desk(folder, server.stdout.readline().strip(), pause=0, items=16)
        text = config.read_text(encoding="utf-8").replace("[capture]\n", '[capture]\nsource = "relay"\n')
        config.write_text(text + '\n[sensors]\nsource = "off"\n', encoding="utf-8")
        made = find_desk(folder)
        yield made
        with contextlib.suppress(Exception):
            engine = Engine(made.socket)
            for run in engine.runs():
                if run.state not in ENDED:
                    engine.act(run.id, "kill")
            pid = engine.shutdown().desk.engine.pid
            until(lambda: not psutil.pid_exists(pid), "the engine's end")
        server.terminate()


def test_each_fault_of_the_demo_is_told_and_nothing_else(desk: Desk) -> None:
    engine = ensure_engine(desk)
    until(
        lambda: any(s.name == "capture" and s.state == "live" for s in engine.status().sources), "the relay"
    )
    changes = engine.changes()
    assert isinstance(next(changes), Snapshot)
    run = engine.start(StartRun(job="synthesize"))
    ended: dict[int, ExchangeRow] = {}
    alarms: set[tuple[str, str]] = set()
    for change in changes:
        if isinstance(change, ExchangeChanged):
            row = change.row
            if row.ended_ns is None:
                alarms.update((_number(row), kind) for kind in row.verdicts)
            else:
                ended[row.id] = row
        elif isinstance(change, RunChanged) and change.run.id == run.id and change.run.state in ENDED:
            break
    found = {(_number(row), kind) for row in ended.values() for kind in row.verdicts}
    assert found >= DESERVED, [(row.id, row.model, row.item, row.verdicts) for row in ended.values()]
    # A machine that is held up for seconds makes true stalls and long loads of its own.
    assert {kind for _, kind in found - DESERVED} <= {"stalled", "model_reload"}, found - DESERVED
    assert ("13", "stalled") in alarms, "the stall was told while it lasted"
    status = engine.status()
    assert status.counts.verdicts == sum(bool(row.verdicts) for row in ended.values()) >= 8
    cut = next(row for row in ended.values() if "context_cut" in row.verdicts)
    whole = until(lambda: engine.exchange(cut.id), "the stored exchange")
    assert "num_ctx 4,096" in whole.verdicts[0].evidence and "options.num_ctx" in whole.verdicts[0].advice


def _number(row: ExchangeRow) -> str:
    return (row.item or "").partition("interview_")[2][:2]
