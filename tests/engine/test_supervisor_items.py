"""Runs that drive their items: several at once, from other sources, checked, moved, tried again, held back."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from nightdesk.engine.jobs.items import find_items
from nightdesk.engine.processes.signals import is_alive
from nightdesk.model.config import ItemsSource, Retry
from nightdesk.model.errors import UsageError
from nightdesk.model.job import ItemMove, Run, StartRun
from tests.engine.test_supervisor import job, nothing_left, play, python, working

__all__ = ["nothing_left"]

COPY = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.with_suffix('.out').write_text(p.read_text())"
GATE = (
    "import os, sys, time, pathlib; name = pathlib.Path(sys.argv[1]).stem; open(name + '.begun', 'w').close()\n"
    "print('working on', name, flush=True)\n"
    "while not os.path.exists(name + '.go'): time.sleep(0.005)"
)


def make(folder: Path, names: str, suffix: str = ".txt") -> None:
    for name in names:
        (folder / f"{name}{suffix}").write_text(name)


def records(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(run.folder) / "items.jsonl").read_text().splitlines()]


def test_several_items_are_worked_on_at_once_each_with_a_log_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "abc")

    async def scene() -> None:
        section = job(python(GATE, "{item}"), items="*.txt", parallel=2)
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until(lambda: (tmp_path / "a.begun").exists() and (tmp_path / "b.begun").exists())
            await world.until(lambda: len(world.get(run).flights) == 2)
            assert not (tmp_path / "c.begun").exists()
            (tmp_path / "b.go").touch()
            await world.until(lambda: (tmp_path / "c.begun").exists())
            for name in "ac":
                (tmp_path / f"{name}.go").touch()
            done = await world.ended(run)
            assert (done.state, done.items_done) == ("done", 3)
            logs = {record["item"]: Path(record["log_path"]).read_text() for record in records(done)}
            assert logs == {f"{name}.txt": f"working on {name}\n" for name in "abc"}

    play(scene())


def test_pause_and_kill_reach_the_processes_of_all_items_in_work(tmp_path: Path) -> None:
    make(tmp_path, "ab")

    async def scene() -> None:
        section = job(python(GATE, "{item}"), items="*.txt", parallel=2)
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until(
                lambda: (
                    all(flight.process for flight in world.get(run).flights)
                    and len(world.get(run).flights) == 2
                )
            )
            paused = await world.supervisor.act(run.id, "pause")
            assert paused.state == "paused"
            await world.supervisor.act(run.id, "kill")
            assert (await world.ended(run)).state == "stopped"

    play(scene())


def test_the_limit_of_one_item_leaves_the_others_alone(tmp_path: Path) -> None:
    make(tmp_path, "ab")
    code = "import sys, time; time.sleep(120 if sys.argv[1] == 'a.txt' else 0)"

    async def scene() -> None:
        section = job(python(code, "{item}"), items="*.txt", parallel=2, timeout="1s", grace="1s")
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert (run.items_done, run.items_failed) == (1, 1)
            failed = next(record for record in records(run) if record["state"] == "failed")
            assert (failed["item"], failed["failure"]["kind"]) == ("a.txt", "timeout")

    play(scene())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (ItemsSource(lines="list"), "one\n# remark\n\n two \none\n"),
        (ItemsSource(jsonl="list", key="id"), '"one"\n{"id": "two"}\n'),
        (ItemsSource(command="cat list"), "one\ntwo\n"),
    ],
)
def test_items_come_from_lists_too(tmp_path: Path, source: ItemsSource, text: str) -> None:
    (tmp_path / "list").write_text(text)

    async def scene() -> None:
        async with working(tmp_path, a=job("echo did {item} {index}", items=source)) as world:
            run = await world.ended(await world.start("a"))
            assert Path(run.log_path or "").read_text() == "did one 1\ndid two 2\n"

    play(scene())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (ItemsSource(lines="none"), "can't be read"),
        (ItemsSource(jsonl="list"), "line 1 is not JSON"),
        (ItemsSource(jsonl="objects"), "no text under 'item'"),
        (ItemsSource(command="cat none"), "ended with 1"),
        (ItemsSource(command="no-such-program"), "can't list the items"),
    ],
)
def test_a_list_that_can_not_be_read_says_which_and_why(
    tmp_path: Path, source: ItemsSource, said: str
) -> None:
    (tmp_path / "list").write_text("{broken\n")
    (tmp_path / "objects").write_text('{"x": 1}\n')
    with pytest.raises(UsageError, match=said):
        find_items(tmp_path, source)


def test_an_output_that_the_check_refuses_is_made_again(tmp_path: Path) -> None:
    make(tmp_path, "ab")
    make(tmp_path, "ab", ".out")
    (tmp_path / "b.out").write_text("bad")
    check = python(
        "import sys; sys.exit('it is bad' if open(sys.argv[1] + '.out').read() == 'bad' else 0)", "{stem}"
    )

    async def scene() -> None:
        section = job(python(COPY, "{item}"), items="*.txt", outputs="{stem}.out", check=check)
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert (run.state, run.items_skipped, run.items_done) == ("done", 1, 2)
            assert (tmp_path / "b.out").read_text() == "b"
            lazy = job("true {item}", items="*.txt", outputs="{stem}.new", check=check)
            world.supervisor.replace_config(world.with_jobs(a=lazy))
            run = await world.ended(await world.start("a"))
            assert [record["failure"]["kind"] for record in records(run)] == ["invalid_output"] * 2
            assert "a.new is missing" in records(run)[0]["failure"]["evidence"]

    play(scene())


def test_a_check_that_was_killed_says_nothing_about_the_output_and_is_made_again(tmp_path: Path) -> None:
    make(tmp_path, "a")
    check = python(
        "import os, sys; new = os.open('checks', os.O_WRONLY | os.O_CREAT | os.O_APPEND); os.write(new, b'x')\n"
        "if os.path.getsize('checks') < 3: os.kill(os.getpid(), 9)"
    )

    async def scene() -> None:
        section = job(python(COPY, "{item}"), items="*.txt", outputs="{stem}.out", check=check)
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            (record,) = records(run)
            assert (record["state"], record["attempts"]) == ("done", 1)
            assert (tmp_path / "checks").read_text() == "xxx"

    play(scene())


def test_retry_does_only_what_failed_or_was_not_reached(tmp_path: Path) -> None:
    make(tmp_path, "abc")
    code = "import sys, os; print(sys.argv[1]); sys.exit(sys.argv[1] == 'b.txt' and not os.path.exists('mended'))"

    async def scene() -> None:
        async with working(tmp_path, a=job(python(code, "{item}"), items="*.txt")) as world:
            with pytest.raises(UsageError, match="no run whose items"):
                await world.supervisor.start(StartRun(job="a", retry=True))
            assert (await world.ended(await world.start("a"))).items_failed == 1
            (tmp_path / "mended").touch()
            again = await world.ended(await world.supervisor.start(StartRun(job="a", retry=True)))
            assert (again.state, again.items_total) == ("done", 1)
            assert Path(again.log_path or "").read_text() == "b.txt\n"
            with pytest.raises(UsageError, match="Nothing is left"):
                await world.supervisor.start(StartRun(job="a", retry=True))

    play(scene())


def test_items_are_moved_and_put_aside_while_the_run_works(tmp_path: Path) -> None:
    make(tmp_path, "abcd")

    async def scene() -> None:
        async with working(tmp_path, a=job(python(GATE, "{item}"), items="*.txt")) as world:
            run = await world.start("a")
            await world.supervisor.move_items(run.id, ItemMove(items=("d.txt",), where="first"))
            await world.supervisor.move_items(run.id, ItemMove(items=("c.txt",), where="skip"))
            with pytest.raises(UsageError, match=r"no item z\.txt"):
                await world.supervisor.move_items(run.id, ItemMove(items=("z.txt",), where="skip"))
            for name in "abcd":
                (tmp_path / f"{name}.go").touch()
            done = await world.ended(run)
            assert (done.state, done.items_skipped) == ("done", 1)
            assert [(r["item"], r["state"]) for r in records(done)] == [
                ("c.txt", "skipped"),
                ("a.txt", "done"),
                ("d.txt", "done"),
                ("b.txt", "done"),
            ]

    play(scene())


def test_an_item_starts_as_soon_as_the_job_before_has_done_its_own(tmp_path: Path) -> None:
    make(tmp_path, "ab")

    async def scene() -> None:
        first = job(python(GATE, "{item}"), items="*.txt")
        second = job("echo synthesized {stem}", items="*.txt", needs_items=("first",))
        async with working(tmp_path, first=first, second=second) as world:
            await world.start("first")
            run = await world.start("second")
            assert (run.state, run.reason) == ("waiting", "Waits for first to do a.")
            (tmp_path / "a.go").touch()
            await world.says(run, "synthesized a")
            await world.until(lambda: world.get(run).reason == "Waits for first to do b.")
            (tmp_path / "b.go").touch()
            assert (await world.ended(run)).state == "done"

    play(scene())


def test_an_item_whose_keeper_was_killed_is_done_once_more_and_its_process_ended(tmp_path: Path) -> None:
    make(tmp_path, "ab")

    async def scene() -> None:
        async with working(tmp_path, a=job(python(GATE, "{item}"), items="*.txt")) as world:
            run = await world.start("a")
            await world.until(lambda: (tmp_path / "a.begun").exists() and world.get(run).keeper)
            keeper, process = world.get(run).keeper, world.get(run).process
            assert keeper and process
            os.kill(keeper.pid, signal.SIGKILL)
            await world.until(lambda: world.get(run).process not in (None, process))
            assert not is_alive(process)
            for name in "ab":
                (tmp_path / f"{name}.go").touch()
            done = await world.ended(run)
            assert (done.state, done.items_done) == ("done", 2)
            assert [(r["item"], r["attempts"]) for r in records(done)] == [("a.txt", 2), ("b.txt", 1)]

    play(scene())


def test_what_a_full_disk_refused_is_recorded_when_there_is_room_again(tmp_path: Path) -> None:
    make(tmp_path, "ab")

    async def scene() -> None:
        async with working(tmp_path, a=job(python(GATE, "{item}"), items="*.txt")) as world:
            run = await world.start("a")
            await world.until(lambda: (tmp_path / "a.begun").exists())
            # A folder in the place of the file refuses every write, also to root.
            (Path(run.folder) / "items.jsonl").mkdir()
            (tmp_path / "a.go").touch()
            await world.until(lambda: "Nothing can be started" in (world.get(run).reason or ""))
            # What can't be noted must not run: after a crash it would be done a second time.
            assert not (tmp_path / "b.begun").exists()
            (Path(run.folder) / "items.jsonl").rmdir()
            (tmp_path / "b.go").touch()
            done = await world.ended(run)
            assert [(r["item"], r["state"]) for r in records(done)] == [("a.txt", "done"), ("b.txt", "done")]

    play(scene())


def test_an_attempt_without_output_cpu_and_traffic_is_ended_as_stalled(tmp_path: Path) -> None:
    make(tmp_path, "ab")
    code = (
        "import sys, time\n"
        "end = time.time() + (120 if sys.argv[1] == 'a.txt' else 1.5)\n"
        "while time.time() < end:\n"
        "    time.sleep(0.02)\n"
        "    if sys.argv[1] == 'b.txt': print('alive', flush=True)\n"
    )

    async def scene() -> None:
        section = job(
            python(code, "{item}"), items="*.txt", stall_after="1s", grace="1s", retry=Retry(attempts=1)
        )
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert [(r["item"], r["state"]) for r in records(run)] == [("a.txt", "failed"), ("b.txt", "done")]
            failure = records(run)[0]["failure"]
            assert failure["kind"] == "stalled" and "No output, no CPU" in failure["evidence"]

    play(scene())


def test_hold_lets_the_item_in_work_end(tmp_path: Path) -> None:
    make(tmp_path, "ab")

    async def scene() -> None:
        async with working(tmp_path, a=job(python(GATE, "{item}"), items="*.txt")) as world:
            run = await world.start("a")
            held = await world.supervisor.act(run.id, "hold")
            assert held.holding and held.state == "running"
            (tmp_path / "a.go").touch()
            await world.until(lambda: world.get(run).state == "paused")
            assert not (tmp_path / "b.begun").exists() and world.get(run).items_done == 1
            await world.supervisor.act(run.id, "resume")
            (tmp_path / "b.go").touch()
            assert (await world.ended(run)).state == "done"

    play(scene())


def test_ten_thousand_items_with_valid_outputs_are_passed_over_in_moments(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n".join(f"{number}" for number in range(10_000)))
    (tmp_path / "all.out").write_text("x")

    async def scene() -> None:
        section = job("true {item}", items=ItemsSource(lines="list"), outputs="all.out")
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert (run.items_skipped, run.state) == (10_000, "done")
            assert len(records(run)) == 10_000

    play(scene())


def test_a_run_goes_on_when_its_folder_is_removed_and_keeps_what_is_over(tmp_path: Path) -> None:
    make(tmp_path, "abc")

    async def scene() -> None:
        section = job(python(GATE, "{item}"), items="*.txt")
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
            await world.until((tmp_path / "a.begun").exists)
            (tmp_path / "a.go").touch()
            await world.until((tmp_path / "b.begun").exists)
            await world.until(lambda: world.get(run).items_done)
            shutil.rmtree(run.folder)
            for name in "bc":
                (tmp_path / f"{name}.go").touch()
            done = await world.ended(run)
            assert (done.state, done.items_done) == ("done", 3)
            assert [(each["item"], each["state"]) for each in records(done)] == [
                (f"{name}.txt", "done") for name in "abc"
            ]

    play(scene())


def test_a_run_whose_folder_was_removed_says_so_when_nothing_is_known_of_its_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(GATE, "x"))) as world:
            run = await world.start("a")
            await world.until((tmp_path / "x.begun").exists)
            shutil.rmtree(run.folder)
            (tmp_path / "x.go").touch()
            ended = await world.ended(run)
            assert ended.state == "lost"
            assert ended.reason == "Its folder was removed while it worked, and with it what became of it."

    play(scene())
