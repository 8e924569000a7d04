"""``make fuzz``: broken inputs for the capture core, a million of them, repeatable by their seed.

Each input has its own seed (``SEED/TARGET/NUMBER``), so that one that fails can be run again alone:
``python -m tests.fuzz.run --only 7/losses/1234``.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.targets import TARGETS

SECONDS_PER_INPUT = 10
"""Inputs take micro- to milliseconds; this much is a hang on any machine."""
GROWTH_BYTES = 192 << 20
"""A worker that grows by more than this keeps what it should forget, or believes a length that it was told."""


class HangError(Exception):
    """An input that does not end."""


def _on_alarm(_number: int, _frame: object) -> None:
    raise HangError(f"an input took more than {SECONDS_PER_INPUT} s")


def fuzz(seed: int, target: str, first: int, count: int) -> list[str]:
    """Inputs ``first`` … of a target; returns what failed."""
    signal.signal(signal.SIGALRM, _on_alarm)
    function = TARGETS[target][1]
    failures: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, first + count):
        signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_INPUT)
        try:
            function(random.Random(f"{seed}/{target}/{number}"))
        except Exception:  # every kind of exception is what we look for
            failures.append(f"{seed}/{target}/{number}\n{traceback.format_exc()}")
            if len(failures) >= 5:
                break
    signal.setitimer(signal.ITIMER_REAL, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    if grown > GROWTH_BYTES:
        failures.append(f"{seed}/{target}/{first}…{number}: memory grew by {grown >> 20} MiB")
    return failures


def main() -> int:
    """Run all targets on all cores; returns 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--only", metavar="SEED/TARGET/NUMBER", help="one input, in this process")
    asked = parser.parse_args()
    if asked.only:
        TARGETS[asked.only.split("/")[1]][1](random.Random(asked.only))
        return 0
    return _run_all(asked.seed, asked.inputs, asked.target or list(TARGETS))


def _run_all(seed: int, inputs: int, names: list[str]) -> int:
    shares = sum(TARGETS[name][0] for name in names)
    failed = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name in names:
            began = time.monotonic()
            count = inputs * TARGETS[name][0] // shares
            step = max(1, count // (4 * (os.cpu_count() or 1)) + 1)
            jobs = [
                pool.submit(fuzz, seed, name, first, min(step, count - first))
                for first in range(0, count, step)
            ]
            failures = [failure for job in jobs for failure in job.result()]
            failed += len(failures)
            sys.stdout.write(
                f"{name:<11} {count:>8} inputs  {time.monotonic() - began:6.1f} s  {len(failures)} failed\n"
            )
            for failure in failures[:5]:
                sys.stdout.write(failure + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
