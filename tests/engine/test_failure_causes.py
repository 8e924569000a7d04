"""The cause of a failure that only the exchanges know, with a real engine, a relay and a model server."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from nightdesk.client.engine import Engine
from nightdesk.model.diagnosis import FailedAttempt
from nightdesk.model.job import ENDED, Failure, StartRun
from tests.support.desk import live_desk, wait_for
from tests.support.replay import LLAMA

ASKS = """
import http.client, json, os, sys
server = http.client.HTTPConnection(os.environ["OLLAMA_HOST"].removeprefix("http://"))
words = "Where are the zeppelins of the old town? " * int(sys.argv[1])
asked = {"model": sys.argv[2], "prompt": words, "stream": False, "options": {"num_ctx": 2048, "num_predict": 20}}
server.request("POST", "/api/generate", json.dumps(asked), {"Content-Type": "application/json"})
server.getresponse().read()
raise ValueError("the reply has no heading")
"""


def failure_of(engine: Engine, job: str) -> Failure:
    """Why the only attempt of a run of this job failed."""
    run = engine.start(StartRun(job=job))
    wait_for(lambda: engine.run(run.id).state in ENDED, "the end")
    kept: tuple[FailedAttempt, ...] = wait_for(lambda: engine.failures(run.id), "what is kept")
    return kept[0].failure


def test_a_prompt_that_was_cut_is_the_class_of_a_failure_whose_log_knows_no_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    asks = shlex.join([sys.executable, "-S", "-c", ASKS])
    with live_desk(tmp_path, monkeypatch) as desk:
        engine = desk.engine
        with (tmp_path / "nightdesk.toml").open("a") as file:
            for name, words in (("long", f"{asks} 900 {LLAMA} {{item}}"), ("short", f"{asks} 3 {LLAMA}")):
                file.write(f"[jobs.{name}]\ncommand = {json.dumps(words)}\n")
                file.write('items = { lines = "items" }\n' if "{item}" in words else "")
        (tmp_path / "items").write_text("first\n")
        wait_for(lambda: len(engine.jobs()) == 2, "the jobs")
        cut, plain = (failure_of(engine, name) for name in ("long", "short"))
    assert cut.kind == "context_cut"
    assert "num_ctx 2,048" in cut.evidence and "(exchange " in cut.evidence
    assert cut.evidence.endswith("It ended with: ValueError: the reply has no heading (exit status 1)")
    assert plain.kind == "error"
