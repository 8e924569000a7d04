"""Items of runs over a real engine's socket and by the verbs: pages, details, moves, single runs compared."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, ItemMove, StartRun

CONFIG = """
[capture]
source = "off"
[sensors]
source = "off"
[jobs.copy]
command = "{python} work.py {item}"
items = "in/*.txt"
outputs = "out/{stem}.out"
parallel = 2
[jobs.gated]
command = "{python} work.py {item} gate"
items = "in/*.txt"
[jobs.plain]
command = "{python} -c 'print(1)'"
"""
WORK = """
import os, pathlib, sys, time
item = pathlib.Path(sys.argv[1])
print("working on", item.stem, flush=True)
while len(sys.argv) > 2 and not os.path.exists("go"):
    time.sleep(0.01)
if item.read_text() == "bad":
    print("no such voice in", item.stem, flush=True)
    sys.exit(3)
pathlib.Path("out").mkdir(exist_ok=True)
pathlib.Path("out", item.stem + ".out").write_text(item.read_text() + "\\n")
"""


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk with four inputs, of which ``c`` is bad."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (tmp_path / "nightdesk.toml").write_text(CONFIG.replace("{python}", sys.executable))
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / "in" / f"{name}.txt").write_text("bad" if name == "c" else name)
    made = find_desk(tmp_path)
    yield made
    with contextlib.suppress(NightdeskError):
        engine = Engine(made.socket)
        for run in engine.runs():
            if run.state not in ENDED:
                engine.act(run.id, "kill")
        until(lambda: all(run.state in ENDED for run in engine.runs()), "the runs' end")
        pid = engine.shutdown().desk.engine.pid
        until(lambda: not psutil.pid_exists(pid), "the engine's end")


def ended(engine: Engine, run_id: str) -> Any:
    return until(lambda: (run := engine.run(run_id)).state in ENDED and run, "the run's end")


def verb(desk: Desk, *words: str, status: int = 0) -> str:
    """What a verb prints."""
    argv = [sys.executable, "-m", "nightdesk.cli.main", "--desk", str(desk.folder), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_the_items_of_a_run_are_listed_filtered_sorted_and_shown_in_full(desk: Desk) -> None:
    engine = ensure_engine(desk)
    run = ended(engine, engine.start(StartRun(job="copy")).id)
    assert (run.state, run.items_done, run.items_failed, run.exit_status) == ("failed", 3, 1, 1)
    page = engine.item_page(run.id)
    assert [(row.item, row.state) for row in page.rows] == [
        ("in/a.txt", "done"), ("in/b.txt", "done"), ("in/c.txt", "failed"), ("in/d.txt", "done")
    ]  # fmt: skip
    assert page.counts == {"done": 3, "failed": 1} and page.total == 4
    assert all(row.took_ns is not None and row.attempts == 1 for row in page.rows)
    failed = engine.item_page(run.id, state="failed,delayed")
    assert [row.index for row in failed.rows] == [2] and failed.total == 1
    assert [row.item for row in engine.item_page(run.id, text="D.TXT").rows] == ["in/d.txt"]
    assert [row.index for row in engine.item_page(run.id, sort="-index", offset=1, limit=2).rows] == [2, 1]
    took = [row.took_ns or 0 for row in engine.item_page(run.id, sort="-took").rows]
    assert took == sorted(took, reverse=True)
    detail = engine.item_detail(run.id, 2)
    assert detail.lines == ("working on c", "no such voice in c")
    assert detail.row.failure is not None and "no such voice" in detail.row.failure.evidence
    log = engine.item_log(run.id, 2)
    assert log.path == detail.log_path
    assert engine.log_window(log.id).lines == ("working on c", "no such voice in c")
    with pytest.raises(NightdeskError, match="no item number 9"):
        engine.item_detail(run.id, 9)
    with pytest.raises(NightdeskError, match="can't be sorted by size"):
        engine.item_page(run.id, sort="size")
    with pytest.raises(NightdeskError, match="drives no items"):
        engine.item_page(ended(engine, engine.start(StartRun(job="plain")).id).id)


def test_items_of_a_run_in_progress_are_moved_and_their_output_is_told_apart(desk: Desk) -> None:
    engine = ensure_engine(desk)
    run = engine.start(StartRun(job="gated"))
    until(lambda: engine.item_page(run.id, state="running").total, "the first item")
    engine.move_items(run.id, ItemMove(items=("in/d.txt",), where="first"))
    engine.move_items(run.id, ItemMove(items=("in/b.txt",), where="skip"))
    rows = engine.item_page(run.id, sort="order").rows
    assert [(row.item, row.state) for row in rows] == [
        ("in/b.txt", "skipped"), ("in/a.txt", "running"), ("in/d.txt", "waiting"), ("in/c.txt", "waiting")
    ]  # fmt: skip
    assert rows[1].flight is not None and rows[2].place == 0
    (desk.folder / "go").touch()
    assert ended(engine, run.id).items_failed == 1
    assert engine.item_detail(run.id, 0).lines == ("working on a",)
    assert engine.item_detail(run.id, 2).lines == ("working on c", "no such voice in c")


def test_a_single_run_is_compared_with_what_the_item_gave_before(desk: Desk) -> None:
    engine = ensure_engine(desk)
    full = ended(engine, engine.start(StartRun(job="copy")).id)
    (desk.folder / "in" / "a.txt").write_text("other")
    one = ended(engine, engine.start(StartRun(job="copy", mode="single", item="in/a.txt")).id)
    compared = engine.comparison(one.id)
    assert (compared.output_before, compared.output_now) == ("a\n", "other\n")
    assert compared.before is not None and (compared.before.run, compared.before.state) == (full.id, "done")
    assert compared.now.took_ns and compared.now.exchanges == 0
    again = ended(engine, engine.start(StartRun(job="copy", mode="single", item="in/a.txt")).id)
    before = engine.comparison(again.id).before
    assert before is not None and before.run == one.id
    with pytest.raises(NightdeskError, match="not a run of a single item"):
        engine.comparison(full.id)


def test_the_verbs_list_move_and_retry_items_and_end_with_the_status_of_the_run(desk: Desk) -> None:
    engine = ensure_engine(desk)
    assert "1 of 4 items failed" in verb(desk, "run", "copy", "--wait", status=1)
    assert "4 of 4" not in verb(desk, "wait", "copy", status=1)
    listed = verb(desk, "items", "copy", "--state", "failed")
    assert "in/c.txt" in listed and "no such voice" in listed and "in/a.txt" not in listed
    assert "3 done, 1 failed" in listed
    rows = [json.loads(line) for line in verb(desk, "items", "copy", "--json").splitlines()]
    assert [(row["index"], row["state"]) for row in rows] == [
        (0, "done"),
        (1, "done"),
        (2, "failed"),
        (3, "done"),
    ]
    assert rows[2]["failure"]["kind"] == "error"
    again = json.loads(verb(desk, "retry", "copy", "--wait", "--json", status=1))
    assert (again["items_total"], again["items_failed"]) == (1, 1)
    (desk.folder / "in" / "c.txt").write_text("c")
    assert "1 item again" in verb(desk, "retry", again["id"], "--wait")
    assert (desk.folder / "out" / "c.out").read_text() == "c\n"
    some = json.loads(verb(desk, "run", "copy", "--items", "in/d.txt", "in/a.txt", "--wait", "--json"))
    assert (some["items_total"], some["items_done"]) == (2, 2)
    assert [row.item for row in engine.item_page(some["id"]).rows] == ["in/d.txt", "in/a.txt"]
    assert "Nothing is left to retry" in verb(desk, "run", "copy", "--retry", status=2)


def test_the_verbs_move_items_of_a_run_in_progress_and_hold_it_after_them(desk: Desk) -> None:
    engine = ensure_engine(desk)
    run = engine.start(StartRun(job="gated"))
    until(lambda: engine.item_page(run.id, state="running").total, "the first item")
    assert "first in/c.txt" in verb(desk, "items", "gated", "--first", "in/c.txt")
    verb(desk, "items", run.id, "--skip", "in/b.txt")
    assert json.loads(verb(desk, "pause", "gated", "--after-item", "--json"))["holding"] is True
    (desk.folder / "go").touch()
    held = until(lambda: (now := engine.run(run.id)).state == "paused" and now, "the run standing still")
    assert (held.items_done, held.items_skipped, held.flights) == (2, 1, ())
    verb(desk, "resume", "gated")
    verb(desk, "wait", "gated", status=1)
    assert engine.run(run.id).items_failed == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["items", "copy", "--first"], "names no item"),
        (["items", "copy", "in/a.txt"], "does not say what to do"),
        (["items", "copy", "--first", "--skip", "in/a.txt"], "exclude each other"),
        (["run", "copy", "in/a.txt"], "after --items"),
        (["run", "copy", "--retry", "--dry-run"], "exclude each other"),
    ],
)
def test_words_that_do_not_fit_are_refused_before_anything_starts(
    desk: Desk, words: list[str], said: str
) -> None:
    assert said in verb(desk, *words, status=2)
    assert not desk.socket.exists()


def completed(desk: Desk, words: str) -> list[str]:
    typed = {"COMP_WORDS": f"nightdesk --desk {desk.folder} {words}", "COMP_CWORD": str(words.count(" ") + 3)}
    program = Path(sys.executable).with_name("nightdesk")
    done = subprocess.run(
        [program], env={**os.environ, **typed, "_NIGHTDESK_COMPLETE": "bash_complete"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [line.removeprefix("plain,") for line in done.stdout.splitlines()]


def test_a_shell_completes_verbs_and_names_of_jobs_runs_and_items(desk: Desk) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_NIGHTDESK_COMPLETE" in verb(desk, "completion", shell)
    assert completed(desk, "run ga") == ["gated"]
    for name in ("gated-20261121-230000-000001", "zz-20261122-010000-000002"):
        (desk.runs / name).mkdir(parents=True)
    newest_first = ["zz-20261122-010000-000002", "gated-20261121-230000-000001"]
    assert completed(desk, "wait ") == ["copy", "gated", "plain", *newest_first]
    assert completed(desk, "run gated --item in/a") == ["in/a.txt"]
    assert completed(desk, "failure gated in/") == [f"in/{name}.txt" for name in "abcd"]
    (desk.runs / "zz-20261122-010000-000002" / "plan.json").write_text(
        '{"job":"zz","mode":"full","arguments":[],"folder":"/","grace_ns":1,"items":["one","two"]}'
    )
    assert completed(desk, "items zz-20261122-010000-000002 t") == ["two"]
