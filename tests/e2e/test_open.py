"""``nightdesk open``: temporary desks that read a capture, show all of it, and leave nothing behind."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from nightdesk.cli import open as opening
from nightdesk.cli.desk import DeskChoice
from nightdesk.cli.passing import make_folder, passing_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.model.errors import CaptureError, NightdeskError
from tests.support.world import NIGHTDESK, TYPED, World, until

RECORDED = Path(__file__).parents[2].parent / "shared" / "fixtures" / "ollama"
CAPTURES = sorted(RECORDED.glob("*.pcap"))


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, world: World) -> Path:
    """The runtime folder of a world, whose processes are ended in any case."""
    for name in ("XDG_RUNTIME_DIR", "NIGHTDESK_TEST_MARKER"):
        monkeypatch.setenv(name, world.env[name])
    return Path(world.env["XDG_RUNTIME_DIR"])


def opened(file: Path) -> tuple[Engine, Path]:
    """The engine of a temporary desk for ``file``, and the desk's folder."""
    folder = make_folder()
    (folder / opening.CAPTURE_NAME).symlink_to(file)
    flags = opening._flags(file.name, None)
    desk = passing_desk(DeskChoice(None), folder, flags)
    assert desk.name == file.name
    return ensure_engine(desk, flags), folder


def is_gone(folder: Path) -> bool:
    return not folder.exists()


def read_to_its_end(engine: Engine) -> str:
    def message() -> str:
        return next((one.message or "" for one in engine.status().sources if one.name == "capture"), "")

    return str(until(lambda: message() if "packets were read" in message() else "", "the end of the file"))


@pytest.mark.skipif(not CAPTURES, reason="the recorded captures are not here")
def test_every_recorded_capture_opens_with_all_its_exchanges(runtime: Path) -> None:
    for file in CAPTURES:
        truth = json.loads(file.with_suffix(".json").read_text())
        engine, folder = opened(file)
        read_to_its_end(engine)
        page = engine.page(limit=1000)
        assert page.total == len(truth["exchanges"]), file.name
        assert [row.started_ns for row in page.rows] == sorted(
            (r.started_ns for r in page.rows), reverse=True
        )
        assert all(row.process is None for row in page.rows), "the ports belong to others now"
        assert engine.processes() == () and {one.state for one in engine.status().sources} <= {"live", "off"}
        assert folder.stat().st_mode & 0o777 == 0o700
        engine.shutdown()
        until(partial(is_gone, folder), "the folder to be removed")


def test_a_file_that_breaks_off_shows_what_came_before_and_says_so(runtime: Path, tmp_path: Path) -> None:
    if not CAPTURES:
        pytest.skip("the recorded captures are not here")
    whole = next(file for file in CAPTURES if file.name.startswith("11-")).read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[: len(whole) // 2 + 3])
    engine, _ = opened(tmp_path / "cut.pcap")
    assert "middle of a record" in read_to_its_end(engine)
    assert engine.page().total > 0
    engine.shutdown()


def test_an_engine_of_a_folder_that_is_no_temporary_desk_does_not_start_as_one(
    runtime: Path, tmp_path: Path
) -> None:
    from nightdesk.engine.__main__ import main

    assert main(["--folder", str(tmp_path), "--temporary"]) != 0
    assert list(tmp_path.glob("*/desk.db")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "can't be shown: this is empty"),
        (b"# a note\n" * 20, "neither pcap nor pcapng"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "ends in the middle of a record"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(content)
    with pytest.raises(CaptureError) as refused:
        opening._check_capture("bad.pcap", opening._head(bad))
    assert reason in refused.value.message and refused.value.hint
    assert "\n" not in refused.value.message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for place in (tmp_path / "nothing.pcap", tmp_path):
        with pytest.raises(NightdeskError, match=r"nothing\.pcap|is not a file"):
            opening._head(place)


@pytest.mark.skipif(not CAPTURES, reason="the recorded captures are not here")
def test_a_capture_opens_in_a_terminal_by_file_and_by_pipe_and_nothing_is_left(world: World) -> None:
    file = RECORDED / "11-concurrency-16.pcap"
    folders = Path(world.env["XDG_RUNTIME_DIR"]) / "nightdesk"
    screen = world.screen(120, 30)
    screen.type(f"{TYPED} open {file}")
    screen.wait_for("11-concurrency-16.pcap", "16 exchanges", "quiet orchard")
    screen.press("j", "Enter")
    screen.wait_for("Overview")
    screen.press("Escape")
    screen.wait_for("16 exchanges")
    screen.press("q")
    screen.wait_for("capture closed")
    until(lambda: not list(folders.iterdir()) and not world.ours(), "nothing to be left")
    screen.type(f"cat {file} | {TYPED} open -")
    screen.wait_for("standard input", "16 exchanges")
    viewers = [one for one in world.processes() if "open" in one.cmdline() and NIGHTDESK in one.cmdline()]
    assert len(viewers) == 2, "the viewer and its guard"
    for one in viewers:
        one.kill()
    until(lambda: not list(folders.iterdir()) and not world.ours(), "nothing to be left of a killed viewer")
