"""The scheduler as a user meets it: commands, a real engine, a real model server, the graph in a real terminal."""

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import server_process
from tests.support.walk import Step, walk
from tests.support.world import TYPED, Screen, World, until

MODEL = "llama3.1:8b"
CONFIG = """
[capture]
source = "off"
ports = [{port}]
[sensors]
source = "off"
[slots]
whisper = 2
[jobs.whisper]
command = "{python} -c 'print(1)'"
unload_models = true
[jobs.left]
command = "sleep 600"
uses = {{ whisper = 1 }}
[jobs.right]
command = "sleep 600"
uses = {{ whisper = 2 }}
needs = ["whisper"]
[jobs.voices]
command = "sh -c 'echo no voice; exit 3'"
"""


def ask(port: int, method: str, path: str, body: object = None) -> str:
    client = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(client):
        client.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return client.getresponse().read().decode()


def runs_of(world: World) -> dict[str, Any]:
    return {run["job"]: run for run in world.json("status")["runs"]}


@pytest.fixture
def server(world: World) -> Iterator[int]:
    """A model server that holds a model, and a desk that watches it."""
    with server_process(0) as port:
        config = CONFIG.format(port=port, python=sys.executable)
        Path(world.folder / "nightdesk.toml").write_text(config)
        ask(port, "POST", "/api/generate", {"model": MODEL, "prompt": "Hi", "stream": False})
        assert MODEL in ask(port, "GET", "/api/ps")
        yield port


def test_models_are_unloaded_and_the_run_and_the_server_say_so(world: World, server: int) -> None:
    ended = json.loads(world.run("run", "whisper", "--wait", "--json").stdout)
    assert ended["state"] == "done"
    assert ended["handover"].startswith(f"Unloaded {MODEL} (")
    assert json.loads(ask(server, "GET", "/api/ps")) == {"models": []}


def _later_and_the_graph(screen: Screen, world: World) -> None:
    """A job is started at a time and killed before it; then every key of the graph."""
    graph = "What waits for what"
    walk(
        screen,
        Step(("1", "j"), ("▌·  left",)),
        Step(("a",), ("Start later: left", "Write a time")),
        Step(("x", "Enter"), ("x is not a time to start at.",)),
        Step(("BSpace", "9", "0", "m"), ("Starts at", "in 1h30m.")),
        Step(("Enter",), ("▌◷  left", "in 1h29m · at"), "Start later"),
        Step(("K",), ("Kill run left", "no process is hit.")),
        Step(("y",), ("▌■  left",), "Kill run"),
        Step(("w",), (graph, "→", "left  stopped", "uses 1 whisper")),
        Step(("k",), ("whisper  Starts at", ", in 1h", "needed by right")),
        Step(("Right",), ("right  Waits for whisper, which waits too.", "uses 2 whisper")),
        Step(("h",), ("whisper  Starts at",)),
        Step(("l",), ("right  Waits for",)),
        Step(("Left",), ("whisper  Starts at",)),
        Step(("Down",), ("left  stopped",)),
        Step(("s",), ("left  running",)),
        Step(("Up",), ("whisper  Starts at",)),
        Step(("j", "j"), ("voices  has not run yet",)),
        Step(("s",), ("voices  failed: no voice (exit status 3)", "F why it failed")),
        Step(("F",), ("Why voices failed", "no voice")),
        Step(("Escape",), (graph,), "Why voices failed"),
        Step(("Enter",), ("Job voices", "with status 3")),
        Step(("F",), ("Why voices failed",)),
        Step(("Escape",), ("Job voices",), "Why voices failed"),
        Step(("Escape",), (graph,), "Job voices"),
        Step(("Escape",), ("▌▶  left",), graph),
    )
    world.run("kill", "left")


def test_what_waits_says_why_and_when_in_the_commands_and_in_the_graph(world: World, server: int) -> None:
    late = world.run("run", "whisper", "--at", "2h").stdout
    assert " waiting: Starts " in late
    assert " waiting: Waits for whisper" in world.run("run", "right").stdout
    refused = world.run("run", "left", "--at", "yesterday", check=False)
    assert refused.returncode != 0
    assert "not a time to start at" in refused.stderr
    screen = world.screen(120, 40)
    screen.type(TYPED)
    screen.wait_for("whisper", "Starts ")
    _later_and_the_graph(screen, world)
    screen.press("q")
    screen.wait_for("go on")
    world.run("down")
    world.run("up")
    runs = runs_of(world)
    assert runs["whisper"]["state"] == "paused"
    assert "resume lets it start " in runs["whisper"]["reason"]
    world.run("resume", "whisper")
    until(lambda: runs_of(world)["whisper"]["state"] == "waiting", "the run to wait for its time again")
