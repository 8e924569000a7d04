"""The request inspector over the demo, in one real terminal: each key that acts on traffic is pressed, and read."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nightdesk.client.desk import socket_path
from nightdesk.client.engine import Engine
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import ENDED
from nightdesk.model.units import NS
from tests.support.walk import Step, walk
from tests.support.world import NIGHTDESK, TYPED, Screen, World, until

QWEN = "qwen2.5-coder:32b"
ADDRESS = "anna.lind@example.org"
QUESTION = {"role": "user", "content": f"Name three harbours. Answer to {ADDRESS}."}
LONG_REPLY = 112
"""The seed with which the answer to that question takes some seconds."""
WAITING = """
import http.client, json, sys
body = {"model": sys.argv[2], "messages": [{"role": "user", "content": "." * 400_000}], "options": {"num_ctx": 10**6}}
server = http.client.HTTPConnection(sys.argv[1])
server.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
try:
    server.getresponse().read()
except (OSError, http.client.HTTPException):
    sys.exit(7)
"""
"""A client with a prompt that the demo's slowest model reads for minutes."""
EDITOR = 'sed -i -e \'s/a summary/a limerick/\' -e \'s/"seed": [0-9]*/"seed": 3, "num_predict": 9/\''
LISTED = re.compile(r"^│.\S +(\d+)  \d\d:\d\d:\d\d", re.MULTILINE)
"""A line of the traffic list that shows its number."""


class Demo:
    """A demo whose traffic goes through the relay, so that it needs no rights."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.engine = Engine(socket_path(folder, world.env))
        message = next(one.message or "" for one in self.engine.status().sources if one.name == "capture")
        (self.relay,) = re.findall(r"OLLAMA_HOST=([\d.]+:\d+)", message)

    def ask(self, *messages: dict[str, str], **options: Any) -> str:
        """The reply of a model, asked through the relay."""
        body = {"model": QWEN, "messages": messages, "options": options}
        with contextlib.closing(http.client.HTTPConnection(self.relay)) as server:
            server.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
            parts = [json.loads(line) for line in server.getresponse()]
        return "".join(part["message"]["content"] for part in parts)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """A process that waits for a reply, and the number of its exchange."""
        with subprocess.Popen([sys.executable, "-c", WAITING, self.relay, QWEN]) as client:
            try:
                yield client, self.only(f"state:running pid:{client.pid}").id
            finally:
                client.kill()

    def rows(self, query: str, sort: str = "-started") -> tuple[ExchangeRow, ...]:
        """What the engine finds."""
        return self.engine.page(query, sort=sort).rows

    def only(self, query: str) -> ExchangeRow:
        """The one exchange that matches, once it is there."""
        found: tuple[ExchangeRow, ...] = until(lambda: self.rows(query), query)
        assert len(found) == 1, found
        return found[0]

    def asked(self) -> tuple[ExchangeRow, ...]:
        """What this test itself has asked, in order."""
        return self.rows("op:chat -job:* -replay:*", "started")

    def rest(self) -> None:
        """End the jobs, so that nothing comes between."""
        for run in self.engine.runs():
            if run.state not in ENDED:
                self.engine.act(run.id, "stop")
        until(lambda: all(run.state in ENDED for run in self.engine.runs()), "the runs to end")
        until(lambda: not self.rows("state:running"), "the exchanges to end")

    def printed(self, *words: str) -> list[dict[str, Any]]:
        """The JSON Lines that a command prints."""
        lines = self.world.run("--desk", str(self.folder), *words).stdout.splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def demo(world: World) -> Iterator[Demo]:
    folder = world.folder / "demo"
    settings = ("--set", "capture.source=relay", "--set", "sensors.source=off")
    command = [NIGHTDESK, *settings, "demo", "--no-viewer", "--speed", "60", "--folder", str(folder)]
    with subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any(line.startswith("folder ") for line in process.stdout)
            yield Demo(world, folder)
        finally:
            process.terminate()


def test_every_key_on_the_traffic_of_the_demo_does_what_it_says(world: World, demo: Demo) -> None:
    world.env["VISUAL"] = EDITOR
    screen = world.screen(120, 40)
    screen.type(f"{TYPED} --desk {demo.folder}")
    make_exchanges(demo)
    screen.wait_for("3 Ollama traffic", "synthesize › ")
    find_and_arrange(screen, demo)
    inspect(screen, demo)
    replay_unchanged(screen, demo)
    replay_edited(screen, demo)
    compare_models(screen, demo)
    cancel(screen, demo)
    judge(screen, demo)
    screen.press("q")
    screen.wait_for("viewer closed")
    check_what_was_recorded(demo)


def make_exchanges(demo: Demo) -> None:
    """A long reply, a second turn, a prompt that the context cuts, and what the jobs have sent meanwhile."""
    reply = demo.ask(QUESTION, seed=LONG_REPLY)
    again = {"role": "user", "content": "And the largest of them?"}
    demo.ask(QUESTION, {"role": "assistant", "content": reply}, again, num_predict=12)
    demo.ask({"role": "user", "content": "The tide was low. " * 400}, num_ctx=512, num_predict=8)
    until(lambda: demo.rows("job:synthesize op:chat state:complete"), "an exchange of a job")
    demo.rest()


def go_to(screen: Screen, demo: Demo, number: int) -> None:
    """List this exchange alone. A notice may hide the filter for a while; the line itself tells which one it is."""
    (row,) = demo.rows(f"id:{number}")
    clock = datetime.fromtimestamp(row.started_ns / NS).strftime("%H:%M:%S")
    tokens = f"⇣{row.reply_tokens} " if row.reply_tokens else clock
    screen.press("/", "C-u", *f"id:{number}", "Enter")
    screen.wait_for("1 found")

    def is_listed() -> bool:
        lines = [line for line in screen.text().splitlines() if re.match(r"│.\d\d:\d\d:\d\d", line)]
        return len(lines) == 1 and clock in lines[0] and tokens in lines[0]

    until(is_listed, f"exchange {number} alone")


def listed(screen: Screen) -> list[int]:
    """The numbers in the list, where that column is shown."""
    return [int(number) for number in LISTED.findall(screen.text())]


def find_and_arrange(screen: Screen, demo: Demo) -> None:
    """Filter with completion, columns, orders, waterfall, totals of what is tagged."""
    count = len(demo.rows(""))
    walk(
        screen,
        Step(("T",), ("Ollama traffic", f"{count} exchanges"), hides="1 Jobs"),
        Step(("/", *"model:qw"), (f"{QWEN}  tab",)),
        Step(("Tab", "Space", *"op:ch"), (f"model:{QWEN} op:ch", "chat  tab")),
        Step(("Tab", "Enter"), (f"/model:{QWEN} op:chat ", "found")),
    )
    lines = [line for line in screen.text().splitlines() if re.match(r"│.\d\d:\d\d:\d\d", line)]
    assert len(lines) == len(demo.rows(f"model:{QWEN} op:chat"))
    assert all(QWEN in line and " chat " in line for line in lines)
    walk(
        screen,
        Step(("Escape",), (f"{count} exchanges",)),
        Step(("o",), ("by took▼",), hides="time▼"),
        Step(("c",), ("Columns of traffic", "number of the exchange")),
        Step(("Space", *["Down"] * 12, "Space", "Escape"), ("  id  ", "took▼"), hides="Columns of traffic"),
    )
    until(lambda: listed(screen) == [row.id for row in demo.rows("", "-took")], "the slowest first")
    walk(screen, Step(("O",), ("took▲",)))
    until(lambda: listed(screen) == [row.id for row in demo.rows("", "took")], "the fastest first")
    walk(
        screen,
        Step(("c", "u", "Escape"), ("by took▲",), hides="  id  "),
        Step(("o",) * 10, ("time▼",)),
        Step(("w",), ("█", "░")),
        Step(("w",), ("text ",), hides="█"),
        Step(("t", "t"), ("2 tagged",)),
        Step(("Escape",), (f"{count} exchanges",)),
        Step(("l",), ("5 Logs", "since:", " until:"), hides="Ollama traffic"),
        Step(("T",), (f"{count} exchanges",), hides="5 Logs"),
    )


def inspect(screen: Screen, demo: Demo) -> None:
    """To the next verdict; its pages."""
    cut = demo.only("verdict:context_cut -job:*")
    walk(screen, Step(("Home", "v"), ("▲ context cut",)))
    go_to(screen, demo, cut.id)
    walk(
        screen,
        Step(("Enter",), ("[1 Overview]", "▲ context cut", "→")),
        Step(("Tab",), ("[2 Prompt]", "── user", "The tide was low.")),
        Step(("3",), ("[3 Response]", "── text")),
        Step(("4",), ("[4 JSON]", '"num_ctx"')),
        Step(("5",), ("[5 Timing]", "by the server's own clock")),
        Step(("6",), ("[6 Wire]", "── connection", "sha256")),
        Step(("7",), ("[7 Verdicts]", "▲ context cut")),
        Step(("BTab",), ("[6 Wire]",)),
        Step(("?",), ("Seven pages",)),
        Step(("Escape",), ("[6 Wire]",), hides="Seven pages"),
        Step(("]",), ("the last one of the list",)),
        Step(("Escape",), ("1 found",), hides="[6 Wire]"),
    )


def replay_unchanged(screen: Screen, demo: Demo) -> None:
    """The new reply streams in beside the old one; then what differs."""
    old = demo.asked()[0]
    go_to(screen, demo, old.id)
    walk(
        screen,
        Step(
            ("r",),
            (f"Replay of exchange {old.id}", "as recorded", "never counted as a job's traffic", ADDRESS),
        ),
        Step(("Enter",), (f"original {old.id}", "▶ running", "Executive Summary")),
    )
    first = until(lambda: beside(screen.text()), "the new reply")
    until(lambda: len(beside(screen.text())) > len(first), "it to grow")
    until(lambda: screen.text().count("✓ complete") == 2, "its end")
    new = demo.only(f"replay:{old.id}")
    assert demo.engine.exchange(new.id).text == demo.engine.exchange(old.id).text
    walk(
        screen,
        Step(
            ("d",),
            (f"Diff {old.id} → {new.id} · 0 differences", f"replay of {old.id}", "first token", "ratio"),
        ),
        Step(("Escape",), (f"Replay {old.id} → {new.id}",)),
        Step(("Escape",), ("1 found",), hides=f"original {old.id}"),
    )


def beside(shown: str) -> str:
    """The text in the right half, below the two lines about it."""
    halves = [line.split("│") for line in shown.splitlines()]
    return "".join(parts[2].strip() for parts in halves[3:] if len(parts) > 3)


def replay_edited(screen: Screen, demo: Demo) -> None:
    """What a job has sent, changed in the editor; the job's traffic stays what it was."""
    old = demo.rows("job:synthesize op:chat state:complete")[0]
    go_to(screen, demo, old.id)
    walk(
        screen,
        Step(("r",), (f"Replay of exchange {old.id}", "Write a summary", "as recorded")),
        Step(("e",), ("Write a limerick", "changed")),
        Step(("Enter",), (f"original {old.id}", "⇣9")),
    )
    until(lambda: screen.text().count("✓ complete") == 2, "its end")
    new = demo.only(f"replay:{old.id}")
    walk(
        screen,
        Step(("d",), (f"Diff {old.id} → {new.id}", "next difference")),
        Step(("1",), ("- Write a summary", "+ Write a limerick")),
        Step(("2",), ("num_predict: 9",)),
        Step(("Escape",), (f"original {old.id}",)),
        Step(("Escape",), ("1 found",), hides=f"original {old.id}"),
    )


def compare_models(screen: Screen, demo: Demo) -> None:
    """One prompt on three models, as a table."""
    asked = demo.asked()[1]
    go_to(screen, demo, asked.id)
    walk(
        screen,
        Step(("R",), (f"Compare models on the request of exchange {asked.id}", "gemma3:4b", "llama3.1:8b")),
        Step(("Space", "Space", "Space"), ("3 chosen",)),
        Step(("Enter",), (f"Comparison on the request of exchange {asked.id}", "3 of 3 have answered")),
    )
    table = re.findall(r" ✓  (\w+).* 12 ", screen.text())
    assert table == ["qwen2", "qwen2", "gemma3", "gemma3"], "the original and three, with their tokens"
    walk(
        screen,
        Step(("Down", "Down", "d"), (f"Diff {asked.id} → ", "gemma3:270m  complete", "next difference")),
        Step(("Escape",), ("3 of 3 have answered",)),
        Step(("Escape",), ("1 found",), hides="have answered"),
    )


def cancel(screen: Screen, demo: Demo) -> None:
    """By the relay, by the process of the client, and of a replay; each time the server is watched."""
    # With the model in memory for such a context, the server works on the prompt at once.
    demo.ask({"role": "user", "content": "Wait."}, num_ctx=10**6, num_predict=1)
    reports = []
    with demo.waiting() as (client, number):
        go_to(screen, demo, number)
        walk(
            screen,
            Step(
                ("x",),
                ("closes the connection in the relay", "P stops the client's process", str(client.pid)),
            ),
            Step(("y",), ("The connection in the relay is closed. The server ",)),
        )
        reports.append(screen.text())
        walk(screen, Step(("Escape",), ("■", "client gone"), hides="has ended"))
        assert client.wait(30) == 7, "it was told, and lived on to say so"
    with demo.waiting() as (client, number):
        go_to(screen, demo, number)
        walk(
            screen,
            Step(("Enter",), ("[3 Response]", "▶ running")),
            Step(("x",), ("P stops the client's process", str(client.pid))),
            Step(("P",), ("1 process stopped. The server ",)),
        )
        reports.append(screen.text())
        walk(
            screen,
            Step(("Escape",), ("■ aborted",), hides="has ended"),
            Step(("Escape",), ("client gone",), hides="■ aborted"),
        )
        assert client.wait(30) < 0
    walk(
        screen,
        Step(("r",), (f"Replay of exchange {number}", "400,000 characters")),
        Step(("Enter",), (f"original {number}", "◷ running")),
        Step(("x",), ("closes the connection of this replay",)),
        Step(("y",), ("The connection of the replay is closed. The server ",)),
    )
    reports.append(screen.text())
    assert any("The server is idle again after" in report for report in reports), reports
    walk(
        screen,
        Step(("Escape",), ("■ aborted",), hides="has ended"),
        Step(("Escape",), ("1 found",), hides=f"original {number}"),
    )


def judge(screen: Screen, demo: Demo) -> None:
    """Marks, a note, the conversation, the profile, a copy."""
    _, second, third = demo.asked()[:3]
    go_to(screen, demo, third.id)
    walk(screen, Step(("-",), (f"Exchange {third.id}: marked bad",)))
    go_to(screen, demo, second.id)
    walk(
        screen,
        Step(("+",), (f"Exchange {second.id}: marked good",)),
        Step(("a",), ("[✓ good]", "⏎ save")),
        Step((*"short",), ("short ",)),
        Step(("Enter",), (f"Exchange {second.id}: noted",), hides="[✓ good]"),
        Step(("C",), ("2 exchanges of one conversation", "one process")),
        Step(("t",), ("exchanges in ",)),
        Step(("Escape",), ("1 found",), hides="conversation"),
        Step(("Enter",), ("Exchange ", "[")),
        Step(("y",), ("request as curl", "r  reply")),
        Step(("r",), ("reply: ", "copied to tmux's buffer")),
        Step(("Escape",), ("1 found",)),
        Step(("/", "C-u", *"mark:bad", "Enter"), ("1 found", "−")),
        Step(("P",), ("Profile  mark:bad", "1 exchange  ")),
        Step(("Escape",), ("1 found",), hides="Profile"),
    )
    assert screen.tmux("show-buffer") == demo.engine.exchange(second.id).text
    walk(
        screen,
        Step(("Escape",), (" exchanges ",)),
        Step(("P",), ("by model", "by job", "synthesize", "replays left out")),
        Step(("s",), ("Exchange ", "1 Overview")),
        Step(("Escape",), ("by model",)),
        Step(("b",), ("Exchange ", "1 Overview")),
        Step(("Escape",), ("by model",)),
        Step(("Enter",), ("/model:", "found"), hides="by model"),
    )


def check_what_was_recorded(demo: Demo) -> None:
    """Replays are nobody's traffic but ours; a dataset holds what was marked good, without the address."""
    jobs = demo.printed("traffic", "--json", "--job", "synthesize")
    assert jobs and all("replay_of" not in one for one in jobs)
    replays = demo.printed("traffic", "--json", "--query", "replay:*")
    assert len(replays) == 6
    assert all(one["replay_of"] and not {"job", "run", "item", "process"} & set(one) for one in replays)
    (line,) = demo.printed("export", "--dataset", "--redact")
    assert [message["role"] for message in line["messages"]] == ["user", "assistant", "user", "assistant"]
    assert "Name three harbours. Answer to" in line["messages"][0]["content"]
    assert ADDRESS not in json.dumps(line)
