"""Outputs that an attempt left half made, and items that the user wants again, are never taken for done."""

from __future__ import annotations

from pathlib import Path

from nightdesk.model.config import JobSection
from nightdesk.model.job import ItemMove
from tests.engine.test_supervisor import job, log_of, nothing_left, play, python, working
from tests.engine.test_supervisor_items import make, records

__all__ = ["nothing_left"]

HALF = (
    "import os, sys, time, pathlib; item = pathlib.Path(sys.argv[1]); out = item.with_suffix('.out')\n"
    "with open(item.with_suffix('.runs'), 'a') as file: file.write('x')\n"
    "out.write_text('half')\n"
    "if item.with_suffix('.bad').exists(): sys.exit(3)\n"
    "while item.with_suffix('.wait').exists(): time.sleep(0.005)\n"
    "out.write_text('whole')\n"
)


def section(**more: object) -> JobSection:
    return job(python(HALF, "{item}"), items="*.txt", outputs="{stem}.out", **more)


def runs_of(folder: Path, names: str) -> list[int]:
    """How often each item was really worked on."""
    files = [folder / f"{name}.runs" for name in names]
    return [len(file.read_text()) if file.exists() else 0 for file in files]


def test_what_a_failed_or_stopped_attempt_wrote_does_not_make_its_item_done(tmp_path: Path) -> None:
    make(tmp_path, "abc")
    (tmp_path / "a.bad").touch()
    (tmp_path / "c.wait").touch()

    async def scene() -> None:
        async with working(tmp_path, a=section(grace="1s")) as world:
            run = await world.start("a")
            await world.until(lambda: (tmp_path / "c.out").exists())
            await world.supervisor.act(run.id, "kill")
            await world.ended(run)
            (tmp_path / "a.bad").unlink()
            (tmp_path / "c.wait").unlink()
            listed = await world.ended(await world.start("a", mode="dry"))
            assert "do    a.txt  (a.out was left by an attempt that did not end well)" in log_of(listed)
            assert "2 of 3 items would be worked on" in log_of(listed)
            again = await world.ended(await world.start("a"))
            assert (again.state, again.items_done, again.items_skipped) == ("done", 3, 1)
            assert [(tmp_path / f"{name}.out").read_text() for name in "abc"] == ["whole"] * 3
            third = await world.ended(await world.start("a"))
            assert third.items_skipped == 3, "what ended well later is trusted again"
            assert runs_of(tmp_path, "abc") == [2, 1, 2]

    play(scene())


def test_items_that_are_wanted_again_are_worked_on_whatever_their_outputs_say(tmp_path: Path) -> None:
    make(tmp_path, "abc")
    (tmp_path / "c.wait").touch()

    async def scene() -> None:
        async with working(tmp_path, a=section()) as world:
            run = await world.start("a")
            await world.until(lambda: runs_of(tmp_path, "abc") == [1, 1, 1])
            await world.supervisor.move_items(run.id, ItemMove(items=("a.txt",), where="again"))
            (tmp_path / "c.wait").unlink()
            done = await world.ended(run)
            assert (done.items_done, done.items_skipped) == (3, 0)
            states = [(record["item"], record["state"]) for record in records(done)]
            assert states.count(("a.txt", "done")) == 2 and ("a.txt", "again") in states
            await world.ended(await world.start("a", items=("b.txt",), again=True))
            await world.ended(await world.start("a", items=("b.txt",)))
            assert runs_of(tmp_path, "abc") == [2, 2, 1]

    play(scene())
