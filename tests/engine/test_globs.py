"""Which files a pattern of items finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightdesk.engine.jobs.items import find_items
from tests.engine.test_supervisor import job, log_of, nothing_left, play, working

__all__ = ["nothing_left"]


def made(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


@pytest.mark.parametrize(
    ("pattern", "items"),
    [
        ("**/*.mp3", ("top.mp3", "a/9.mp3", "a/10.mp3", "a/b/deep.mp3")),
        ("a/**/*.mp3", ("a/9.mp3", "a/10.mp3", "a/b/deep.mp3")),
        ("a/**/b/**/*.mp3", ("a/b/deep.mp3",)),
        ("a/**", ("a/9.mp3", "a/10.mp3", "a/b/deep.mp3")),
        ("**/b/", ("a/b/",)),
        ("a/.hidden/*", ("a/.hidden/x.mp3",)),
        ("*.wav", ()),
    ],
)
def test_two_stars_stand_for_any_folders_that_are_not_hidden(
    tmp_path: Path, pattern: str, items: tuple[str, ...]
) -> None:
    made(tmp_path, "top.mp3", "a/9.mp3", "a/10.mp3", "a/b/deep.mp3", "a/.hidden/x.mp3", "a/.h.mp3")
    assert sorted(find_items(tmp_path, pattern)) == sorted(items)
    absolute = [str(tmp_path / name) + "/" * name.endswith("/") for name in items]
    assert sorted(find_items(Path("/"), f"{tmp_path}/{pattern}")) == sorted(absolute)


def test_links_that_lead_in_circles_end_and_give_no_file_twice(tmp_path: Path) -> None:
    made(tmp_path, "a/1.mp3", "b/2.mp3", "elsewhere/3.mp3")
    for name in ("a/self", "a/again", "b/up"):
        (tmp_path / name).symlink_to("..")
    (tmp_path / "a" / "beside").symlink_to("../b")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    assert find_items(tmp_path, "**/*.mp3") == ("a/1.mp3", "b/2.mp3", "elsewhere/3.mp3")
    assert find_items(tmp_path / "a", "**/*.mp3") == ("1.mp3", "beside/2.mp3", "linked/3.mp3")


def test_a_file_whose_name_nobody_could_write_is_left_out_and_told_of(tmp_path: Path) -> None:
    made(tmp_path, "good.mp3")
    try:
        (tmp_path / os.fsdecode(b"bad\xff.mp3")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")

    async def scene() -> None:
        async with working(tmp_path, a=job("echo did {item}", items="*.mp3")) as world:
            run = await world.ended(await world.start("a"))
            assert run.items_total == 1
            told, did = log_of(run).splitlines()
            assert told == "nightdesk: 1 file is left out, for the name is not UTF-8: bad\ufffd.mp3"
            assert did == "did good.mp3"
            dry = await world.ended(await world.start("a", mode="dry"))
            assert "1 file is left out" in log_of(dry)

    play(scene())
