"""Each module is imported in a fresh process; what it pulls in is looked at there."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
INPUT_OUTPUT = {
    "asyncio",
    "socket",
    "threading",
    "subprocess",
    "sqlite3",
    "psutil",
    "scapy",
    "textual",
    "httpx",
}
HEAVY = {"textual", "rich", "litestar", "uvicorn", "scapy", "watchfiles", "plotext", "psutil", "sqlite3"}


def modules(package: str) -> list[str]:
    folder = SOURCE / "nightdesk" / package
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(folder.rglob("*.py"))
    ]


def loaded_by(names: list[str], before: str = "") -> dict[str, set[str]]:
    """Top-level names in sys.modules after importing each module in a process of its own (forked for speed).

    ``before`` is imported before the fork: libraries, where only our own modules are in question.
    """
    script = (
        "import gc, os, sys, importlib\n" + before + "\n"
        "gc.freeze()\n"  # else each child copies what the collector only looks at
        "for name in sys.argv[1:]:\n"
        "    sys.stdout.flush()\n"
        "    if os.fork() == 0:\n"
        "        importlib.import_module(name)\n"
        "        print(name, *{m.partition('.')[0] for m in sys.modules}, flush=True)\n"
        "        os._exit(0)\n"
        "    if os.wait()[1]:\n"
        "        sys.exit(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


def guilty_of(names: list[str], forbidden: set[str]) -> dict[str, set[str]]:
    """Which of ``names`` load something forbidden. All at once first: what none of them loads, no single one does."""
    everything = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)"
    if not loaded_by(["sys"], everything)["sys"] & forbidden:
        return {}
    return {name: tops & forbidden for name, tops in loaded_by(names).items() if tops & forbidden}


@pytest.mark.parametrize("package", ["model", "core"])
def test_core_and_model_load_nothing_that_does_input_or_output(package: str) -> None:
    allowed = {"threading"}  # logging, hashlib and zlib pull it in by themselves
    assert not guilty_of(modules(package), INPUT_OUTPUT - allowed)


def test_the_client_and_the_light_verbs_load_nothing_heavy() -> None:
    verbs = [
        f"nightdesk.cli.{name}"
        for name in ("main", "desk", "output", "engine", "status", "jobs", "logs", "traffic")
    ]
    assert not guilty_of([*modules("client"), *verbs], HEAVY - {"rich"})


def test_the_viewer_loads_at_its_start_only_what_its_first_picture_needs() -> None:
    later = {
        *("statistics", "httpx", "h11", "sqlite3", "xml", "markdown_it", "pygments"),
        *(
            "nightdesk.client.api",
            "nightdesk.client.engine",
            "nightdesk.core.inspection.query",
            "nightdesk.core.inspection.completion",
        ),
        *("nightdesk.core.logs.formats", "nightdesk.core.moments", "nightdesk.core.sensors.apple"),
        *(
            "nightdesk.core.capture.exchanges",
            "nightdesk.core.inspection.profile",
            "nightdesk.core.inspection.conversations",
        ),
        *("nightdesk.model.conversation", "nightdesk.model.diagnosis", "nightdesk.model.inspected"),
        *("nightdesk.model.items", "nightdesk.model.profile", "nightdesk.model.whisper"),
        "nightdesk.tui.inspector",
    }
    screens = {
        f"nightdesk.tui.screens.{path.stem}" for path in (SOURCE / "nightdesk/tui/screens").glob("*.py")
    }
    later |= screens - {"nightdesk.tui.screens.desk", "nightdesk.tui.screens.__init__"}
    script = "import sys, nightdesk.tui.start, nightdesk.tui.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not later & set(done.stdout.split())


def test_the_status_verb_loads_only_what_it_prints() -> None:
    later = {"asyncio", "statistics", "nightdesk.client.api", "nightdesk.core.faults"}
    script = (
        "import sys; from nightdesk.cli import main, output, status; "
        "from nightdesk.client import desk, engine, launch; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not later & set(done.stdout.split())


# What a layer's modules mostly need: loaded once, before the forks. A small process forks faster than a big one.
LIBRARIES = {
    "nightdesk.tui": "textual.app, textual.widgets, plotext",
    "nightdesk.engine": "litestar, uvicorn, psutil, httpx",
    "nightdesk": "msgspec, click, asyncio",
}


def test_every_module_can_be_imported_alone() -> None:
    entries = {"nightdesk.engine.jobs.keeper"}
    names = {name for name in modules(".") if not name.endswith("__main__") and name not in entries}
    for layer, libraries in LIBRARIES.items():
        these = {name for name in names if name.startswith(layer)}
        assert set(loaded_by(sorted(these), f"import {libraries}")) == these
        names -= these
    assert not names
