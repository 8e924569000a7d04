"""Commands that the desk runs to learn something: they can't hold up a run, nor the user who wants it to end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nightdesk.engine.jobs import driver, short_commands
from nightdesk.engine.jobs.items import find_items
from nightdesk.engine.jobs.short_commands import ShortCommandError, ask
from nightdesk.engine.processes.table import read_argv, read_table
from nightdesk.model.config import ItemsSource
from nightdesk.model.errors import UsageError
from tests.engine.test_supervisor import job, nothing_left, play, python, working

__all__ = ["nothing_left"]


def asked(folder: Path, command: str, seconds: float = 30) -> short_commands.Answer:
    return ask(("sh", "-c", command), folder, os.environ, seconds=seconds)


def sleepers(seconds: str) -> list[int]:
    return [pid for pid in read_table() if read_argv(pid)[:2] == ("sleep", seconds)]


def test_a_short_command_says_what_it_printed_and_how_it_ended(tmp_path: Path) -> None:
    assert asked(tmp_path, "pwd; echo no >&2; exit 3") == (3, f"{tmp_path}\n".encode(), b"no\n")
    assert asked(tmp_path, "kill -9 $$").exit_status == -signal.SIGKILL
    assert len(asked(tmp_path, "exec head -c 3000000 /dev/zero").output) == 3_000_000
    assert asked(tmp_path, "exec >&- 2>&-; sleep 0.2; exit 4").exit_status == 4
    with pytest.raises(FileNotFoundError):
        ask(("no-such-program",), tmp_path, os.environ)


def test_a_short_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(ShortCommandError, match=r"took longer than 200ms"):
        asked(tmp_path, "sleep 86341; true", seconds=0.2)
    with pytest.raises(ShortCommandError, match="took longer"):
        asked(tmp_path, "exec >&- 2>&-; sleep 86341; true", seconds=0.2)
    assert sleepers("86341") == []


def test_what_a_short_command_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    answer = asked(tmp_path, "sleep 86342 & echo $!")
    assert answer.exit_status == 0
    os.kill(int(answer.output), signal.SIGKILL)


def test_a_short_command_can_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_commands, "OUTPUT_MOST", 100_000)
    with pytest.raises(UsageError, match=r"can't list the items: it printed more than 100 kB"):
        find_items(tmp_path, ItemsSource(command="yes"))


def test_a_list_is_made_in_the_environment_of_its_job(tmp_path: Path) -> None:
    source = ItemsSource(command="sh -c 'echo $FOLDER'")
    assert find_items(tmp_path, source, {"FOLDER": "tonight"}) == ("tonight",)


def test_a_name_may_hold_what_only_unicode_takes_for_the_end_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("\ufeffa\u2028b\r\nc\x85d\r\n\r\ne\x0cf".encode())
    assert find_items(tmp_path, ItemsSource(lines="list")) == ("a\u2028b", "c\x85d", "e\x0cf")
    (tmp_path / "json").write_bytes('\ufeff{"item": "a\u2028b"}\r\n"c\x85d"\n'.encode())
    assert find_items(tmp_path, ItemsSource(jsonl="json", key="item")) == ("a\u2028b", "c\x85d")


def test_a_run_is_stopped_at_once_although_a_check_hangs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    async def scene() -> None:
        check = "sh -c 'touch checked; sleep 86343; true'"
        section = job("cp {item} {stem}.out", items="*.txt", outputs="{stem}.out", check=check)
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until((tmp_path / "checked").exists)
            assert (await world.supervisor.act(run.id, "stop")).state in ("stopping", "stopped")
            ended = await world.ended(run)
            assert (ended.state, ended.items_done, ended.items_failed) == ("stopped", 0, 0)
            assert sleepers("86343") == []

    play(scene())


def test_a_pause_is_answered_although_a_check_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 0.2)
    (tmp_path / "a.txt").write_text("a")

    async def scene() -> None:
        check = "sh -c 'touch checked; while [ ! -e go ]; do sleep 0.01; done'"
        section = job("cp {item} {stem}.out", items="*.txt", outputs="{stem}.out", check=check)
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until((tmp_path / "checked").exists)
            asked = await world.supervisor.act(run.id, "pause")
            assert (asked.state, asked.reason) == ("running", "Is being paused.")
            (tmp_path / "go").touch()
            ended = await world.ended(run)
            assert (ended.state, ended.items_done) == ("done", 1)

    play(scene())


def test_a_run_is_paused_and_stopped_while_it_checks_which_items_need_work(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.out").write_text("x")

    async def scene() -> None:
        (tmp_path / "list").write_text("".join(f"{number}\n" for number in range(300)))
        check = python("import time; time.sleep(0.3)")
        section = job("true {item}", items=ItemsSource(lines="list"), outputs="{stem}.out", check=check)
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until(lambda: world.get(run).items_skipped)
            assert "need work" in (world.get(run).reason or "")
            assert (await world.supervisor.act(run.id, "pause")).state == "paused"
            skipped = world.get(run).items_skipped
            assert skipped < 100
            await world.supervisor.act(run.id, "resume")
            await world.until(lambda: world.get(run).items_skipped > skipped)
            await world.supervisor.act(run.id, "stop")
            assert (await world.ended(run)).state == "stopped"

    play(scene())
