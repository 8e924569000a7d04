"""How soon a job runs, and what many chatty runs cost the engine."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from nightdesk.model.job import ENDED, StartRun
from tests.bench.desk import NIGHTDESK, Bench, running_desk
from tests.bench.machine import cpu_ratios

ROUNDS, CHATTY, SECONDS = 11, 20, 15
STAMP = """
import sys, time
open(sys.argv[1], "w").write(str(time.time_ns()))
"""
CHATTER = """
import sys, time
begin, count = time.monotonic(), 0
while time.monotonic() - begin < 60:
    for _ in range(20):
        count += 1
        print(f"2026-01-01 02:03:04,567 INFO worker: item {count} of 60000 done, 1.7 s", flush=True)
    time.sleep(max(0, begin + count / 1000 - time.monotonic()))
"""


def config() -> str:
    """One job that notes when it runs, and twenty that talk."""
    python = json.dumps(sys.executable)[1:-1]
    lines = ["[jobs.stamp]", f'command = "{python} stamp.py stamped"']
    for number in range(CHATTY):
        lines += [f"[jobs.chatty{number}]", f'command = "{python} chatter.py"']
    return "\n".join(lines) + "\n"


def wait_for(bench: Bench, run_id: str) -> None:
    """Until the run has ended."""
    while bench.engine.run(run_id).state not in ENDED:
        time.sleep(0.02)


def seconds_to_running(bench: Bench, by_command: bool) -> float:
    """Median seconds from the request to the first statement of the job's program."""
    taken = []
    stamped = bench.desk.folder / "stamped"
    for _ in range(ROUNDS):
        stamped.unlink(missing_ok=True)
        began = time.time_ns()
        if by_command:
            said = subprocess.run([NIGHTDESK, "run", "stamp", "--json"], check=True, capture_output=True)
            run_id = json.loads(said.stdout)["id"]
        else:
            run_id = bench.engine.start(StartRun(job="stamp")).id
        wait_for(bench, run_id)
        taken.append((int(stamped.read_text(encoding="ascii")) - began) / 1e9)
    return statistics.median(taken)


def seconds_to_stamp() -> float:
    """The same program started by ``Popen``: what nobody can be faster than."""
    taken = []
    for _ in range(ROUNDS):
        began = time.time_ns()
        subprocess.run([sys.executable, "stamp.py", "stamped"], check=True)
        taken.append((int(Path("stamped").read_text(encoding="ascii")) - began) / 1e9)
    return statistics.median(taken)


def chatty_share(bench: Bench) -> float:
    """Share of a core of the engine while all the chatty runs talk."""
    runs = [bench.engine.start(StartRun(job=f"chatty{number}")).id for number in range(CHATTY)]
    time.sleep(6)
    share = cpu_ratios({"engine": [bench.pid]}, SECONDS)["engine"]
    for run_id in runs:
        bench.engine.act(run_id, "kill")
    return share


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    with running_desk(config(), {"stamp.py": STAMP, "chatter.py": CHATTER}) as bench:
        time.sleep(3)
        floor = seconds_to_stamp()
        by_api = seconds_to_running(bench, by_command=False)
        by_command = seconds_to_running(bench, by_command=True)
        share = chatty_share(bench)
    return [
        ("`Popen` to the program's first statement", f"{floor * 1000:.0f} ms", "floor"),
        (
            "start by API to the program's first statement",
            f"{by_api * 1000:.0f} ms",
            f"under 35 ms more than the floor: {(by_api - floor) * 1000:+.0f} ms",
        ),
        (
            "`nightdesk run` to the program's first statement, start of the command included",
            f"{by_command * 1000:.0f} ms",
            "of that the start of Python and click is most",
        ),
        (
            f"engine, {CHATTY} runs of 1,000 lines a second each",
            f"{share * 100:.1f} % of a core",
            "under 6 %",
        ),
    ]
