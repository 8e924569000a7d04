"""Whatever is given to Nightdesk, it answers with one sentence and the next step, and harms nothing else."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.world import NIGHTDESK, TYPED, World, until

QUIET = "[capture]\nsource = 'off'\n[sensors]\nsource = 'off'\n"
BROKEN = {
    "[desk\nname = 1": "line 1, column 6",
    "[desk]\nnmae = 'x'": "did you mean 'name'",
    "[jobs.a]\nitems = '*.mp3'": "[jobs.a] has no command",
    "[watch]\nlogs = ['a[b']": "a [ is never closed",
    "name = \x1b]0;title\x07": "line 1",
}
WORDS = {
    ("frobnicate",): "No such command",
    ("status", "more"): "unexpected extra argument",
    ("status", "--\x1b]52;c;aGk=\x07"): "No such option",
    ("--set", "nonsense", "status"): "SECTION.KEY=VALUE",
    ("--set", "capture.source=bogus", "status"): "must be one of",
    ("--desk", "nowhere", "status"): "no desk at nowhere",
    ("show", "abc"): "not a valid integer",
    ("logs", "-n", "x"): "not a valid integer",
    ("capture", "missing.pcap"): "No such file",
    ("capture", "."): "Is a directory",
    ("capture", "empty"): "empty",
    ("capture", "notes.txt"): "neither pcap nor pcapng",
    ("sensors", "--replay", "missing"): "No such file",
    ("sensors", "--replay", "empty"): "not a recording",
    ("sensors", "--replay", "notes.txt"): "not a recording",
    ("status",): "No engine is running",
    (): "needs a terminal",
}


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """The complaint of a command that failed as it should: one sentence and what to do, and no traceback."""
    assert done.returncode not in (0, 120), done
    assert done.stderr.startswith("nightdesk: ") and "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 4 and "\x1b" not in done.stderr, done.stderr
    return done.stderr


def desk(world: World, text: str = QUIET) -> Path:
    """Write the configuration of the desk."""
    path = world.folder / "nightdesk.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_configuration_is_told_with_its_line(world: World, text: str) -> None:
    desk(world, text)
    assert BROKEN[text] in said(world.run("up", check=False))
    assert not (world.folder / ".nightdesk").exists()


def test_wrong_words_and_files_get_one_sentence(world: World) -> None:
    (world.folder / "empty").touch()
    (world.folder / "notes.txt").write_text("these are notes, not packets\n" * 9)
    for words, expected in WORDS.items():
        complaint = said(world.run(*words, check=False))
        assert expected in complaint
        assert len(complaint.splitlines()) > 1 or " failed: " in complaint, complaint


def test_a_desk_in_a_folder_that_is_not_utf_8_is_refused_and_not_half_working(world: World) -> None:
    folder = Path(os.fsdecode(os.fsencode(world.folder) + b"/d\xff"))
    folder.mkdir()
    (folder / "nightdesk.toml").write_text(QUIET)
    for words in (("up",), ("status",), ("config", "show", "--json"), ("jobs",)):
        assert "not UTF-8" in said(world.run(*words, check=False, cwd=folder))


def test_what_does_not_exist_is_named(world: World) -> None:
    desk(
        world, QUIET + "[jobs.each]\ncommand = 'true {item}'\nitems = '*.mp3'\n[jobs.all]\ncommand = 'true'\n"
    )
    (world.folder / "one.mp3").touch()
    world.run("up")
    huge = "9" * 30
    cases = {
        ("run", "nojob"): "no job named nojob",
        ("run", "each", "--item", "two.mp3"): "two.mp3",
        ("run", "all", "--item", "x"): "single",
        ("run", "all", "--dry-run"): "dry_run",
        ("wait", "norun"): "norun",
        ("stop", "²"): "²",
        ("kill", huge, "--yes"): huge,
        ("show", "99"): "no exchange 99",
        ("show", huge): "no exchange",
        ("logs", "nolog"): "nolog",
        ("run", "\udcff"): "not UTF-8",
        ("run", "each", "--item", "\udcff.mp3"): "not UTF-8",
        ("traffic", "--text", "\udcff"): "no word in",
        ("stop", "\udcff"): "no run or job",
    }
    for words, expected in cases.items():
        done = world.run(*words, check=False)
        assert expected in said(done) and done.returncode == 2, done
    assert world.json("status")["runs"] == []


@pytest.mark.parametrize("verb", ["status", "status --json", "ps --all", "jobs", "config show", "--help"])
def test_an_output_that_is_closed_full_or_left_ends_quietly(world: World, verb: str) -> None:
    desk(world)
    world.run("up")
    for where, status in ((">&-", 1), (">/dev/full", 1), ("<&- 2>&- >/dev/null", 0), ("<&- >&- 2>&-", 1)):
        done = subprocess.run(
            ["sh", "-c", f"{TYPED} {verb} {where}"],
            env=world.env, cwd=world.folder, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == status, (where, done)
        if status and "2>&-" not in where:
            assert "can't be written" in said(done)
    left = subprocess.run(
        ["bash", "-c", f"{TYPED} {verb} | true; echo ${{PIPESTATUS[0]}}"],
        env=world.env, cwd=world.folder, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert left.stderr == "" and left.stdout.strip() in ("0", "141")


def test_a_chosen_socket_is_refused_where_it_can_not_be_and_nothing_is_changed(world: World) -> None:
    desk(world)
    open_folder = world.folder / "open"
    open_folder.mkdir(mode=0o755)
    precious = open_folder / "precious"
    precious.write_text("mine")
    cases = {
        f"/tmp/{'x' * 120}.sock": "130 bytes long",
        str(precious): "exists and is not a socket",
        str(open_folder): "exists and is not a socket",
        "/proc/nightdesk.sock": "/proc/nightdesk.sock",
    }
    for path, expected in cases.items():
        world.env["NIGHTDESK_SOCKET"] = path
        assert expected in said(world.run("up", check=False))
    assert precious.read_text() == "mine"
    world.env["NIGHTDESK_SOCKET"] = str(open_folder / "here.sock")
    world.run("up")
    assert open_folder.stat().st_mode & 0o777 == 0o755
    assert (open_folder / "here.sock").stat().st_mode & 0o777 == 0o600
    world.env["NIGHTDESK_SOCKET"] = str(open_folder / "elsewhere.sock")
    assert "Another engine of this desk runs" in said(world.run("up", check=False))


def test_a_damaged_database_is_set_aside_and_a_locked_one_named(world: World) -> None:
    desk(world)
    state = world.folder / ".nightdesk"
    state.mkdir(mode=0o700)
    (state / "desk.db").write_bytes(b"this is no database" * 500)
    status = world.run("up").stdout + world.run("status").stdout
    assert "damaged" in status
    assert len(list(state.glob("desk.db.damaged-*"))) == 1
    world.run("down")
    with contextlib.closing(sqlite3.connect(state / "desk.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        complaint = said(world.run("up", check=False))
    assert "locked" in complaint and "Another program holds it" in complaint
    world.run("up")


def test_a_database_that_goes_bad_while_the_engine_works_costs_only_the_record(world: World) -> None:
    desk(world, QUIET + "[jobs.a]\ncommand = 'true'\n")
    world.run("up")
    database = world.folder / ".nightdesk" / "desk.db"
    for name in (database, Path(f"{database}-wal"), Path(f"{database}-shm")):
        if name.exists():
            with name.open("r+b") as file:
                file.write(b"\xff" * 200_000)
    assert world.run("run", "a", "--wait").returncode == 0
    until(lambda: "could not be written" in world.run("status").stdout, "the store to be told as degraded")
    assert "Traceback" not in world.run("traffic", check=False).stderr
    world.run("down")


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """A file system of 400 kB."""
    place = world.folder / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield place
    world.close()
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)


def test_a_full_disk_is_named_and_passes(world: World, small_disk: Path) -> None:
    (small_disk / "nightdesk.toml").write_text(QUIET + "[jobs.a]\ncommand = 'true'\n")
    fill(small_disk / "rest")
    assert "No space left on device" in said(world.run("--desk", str(small_disk), "up", check=False))
    (small_disk / "rest").unlink()
    world.run("--desk", str(small_disk), "up")
    fill(small_disk / "rest")
    refused = said(world.run("--desk", str(small_disk), "run", "a", check=False))
    assert "No space left on device" in refused
    (small_disk / "rest").unlink()
    assert world.run("--desk", str(small_disk), "run", "a", "--wait").returncode == 0
    world.run("--desk", str(small_disk), "down")


def test_an_engine_killed_while_it_is_asked_is_told(world: World) -> None:
    desk(world, QUIET + "[jobs.long]\ncommand = 'sleep 60'\n")
    world.run("up")
    world.run("run", "long")
    engine: int = world.json("status")["desk"]["engine"]["pid"]
    os.kill(engine, signal.SIGSTOP)
    asking = subprocess.Popen(
        [NIGHTDESK, "status"], env=world.env, cwd=world.folder, stderr=subprocess.PIPE, text=True
    )
    sockets = psutil.Process(asking.pid)
    until(lambda: sockets.net_connections("unix"), "the question")
    os.kill(engine, signal.SIGKILL)
    complaint = asking.communicate(timeout=30)[1]
    assert asking.returncode == 3 and complaint.startswith("nightdesk: "), complaint
    assert "nightdesk up" in complaint
    world.run("up")
    assert [r["state"] for r in world.json("status")["runs"]] == ["running"]
    world.run("kill", "long")


def test_a_configuration_that_breaks_leaves_the_last_good_one_in_force(world: World) -> None:
    path = desk(world, QUIET + "[jobs.count]\ncommand = 'true'\n")
    screen = world.screen(120, 40)
    screen.type(TYPED)
    screen.wait_for("count", "Processes")
    path.write_text("[jobs.count\ncommand = ")
    screen.wait_for("1 fault in nightdesk.toml")
    assert world.run("run", "count", "--wait").returncode == 0
    done = world.run("config", "validate", check=False)
    assert done.returncode == 2 and "line 1" in done.stdout
    path.write_text(QUIET + "[jobs.other]\ncommand = 'true'\n")
    screen.wait_for("other", "Processes")
    until(lambda: "fault" not in screen.text(), "the fault to vanish from the header")


def test_a_terminal_that_is_too_small_says_how_small(world: World) -> None:
    desk(world)
    screen = world.screen(40, 10)
    screen.type(TYPED)
    screen.wait_for("at least 60×15", "40×10")
    screen.tmux("resize-window", "-x", "100", "-y", "30")
    screen.wait_for("Jobs", "Processes")
    screen.press("q")
    screen.wait_for("viewer closed")


def test_a_locale_without_utf_8_gets_plain_text(world: World) -> None:
    desk(world, QUIET + "[jobs.green]\ncommand = 'echo Zürich'\n")
    world.env["LC_ALL"] = "C"
    screen = world.screen(120, 40)
    screen.type(TYPED)
    screen.wait_for("green", "Jobs")
    screen.press("q")
    screen.wait_for("viewer closed")
    screen.type("clear")
    screen.type(f"{TYPED} jobs; {TYPED} jobs --json")
    shown = screen.wait_for("echo Z?rich", "echo Z\\u00fcrich")
    assert shown.isascii()
    assert "Zürich" in world.run("jobs").stdout


@pytest.fixture
def weak(world: World) -> Iterator[list[str]]:
    """Words before a command that take away root's rights to capture packets and to pass over the rights of files."""
    if os.getuid():
        yield []
        return
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed (Debian: apt-get install util-linux)")
    gone = ",".join(
        f"-{name}" for name in ("net_raw", "net_admin", "dac_override", "dac_read_search", "sys_admin")
    )
    yield ["setpriv", "--bounding-set", gone, "--inh-caps", gone]


def run_weak(world: World, weak: list[str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run ``nightdesk`` as somebody with few rights."""
    return subprocess.run(
        [*weak, NIGHTDESK, *words],
        env=world.env, cwd=world.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_without_the_right_to_capture_the_relay_works_and_scapy_says_what_it_lacks(
    world: World, weak: list[str]
) -> None:
    desk(world, "[capture]\nports = [45999]\n[sensors]\nsource = 'off'\n")

    def told(state: str) -> str:
        lines = world.run("status").stdout.splitlines()
        return next((line for line in lines if line.split()[:2] == ["capture", state]), "")

    assert run_weak(world, weak, "up").returncode == 0
    assert "relay" in until(lambda: told("live"), "a capture that works")
    whole = world.run("status").stdout
    assert "\n            scapy: " in whole and "\n            tcpdump: " in whole, whole
    world.run("down")
    assert run_weak(world, weak, "--set", "capture.source=scapy", "up").returncode == 0
    line = until(lambda: told("failed"), "the refusal")
    assert "CAP_NET_RAW" in line, line


def test_a_desk_that_can_not_be_written_is_named(world: World, weak: list[str]) -> None:
    closed = world.folder / "closed"
    closed.mkdir()
    (closed / "nightdesk.toml").write_text(QUIET)
    closed.chmod(0o555)
    complaint = said(run_weak(world, weak, "--desk", str(closed), "up"))
    assert str(closed) in complaint and "Permission denied" in complaint
    closed.chmod(0o755)
    (closed / ".nightdesk").mkdir()
    for name in ("engine.out", "engine.lock", "engine.log", "desk.db"):
        file = closed / ".nightdesk" / name
        file.touch(mode=0o400)
        complaint = said(run_weak(world, weak, "--desk", str(closed), "up"))
        assert name in complaint, complaint
        file.chmod(0o600)
