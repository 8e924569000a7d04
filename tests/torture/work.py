"""The command of the items of the crash campaign: notes what it does in a side file that the desk never touches.

``python -I -S work.py SIDE OUTPUT ITEM``. The kind of an item is the first word of its name. One line is appended for
each beginning and each end, in one write, so that every real execution is known whatever is killed. A lock for each
item is inherited by all children: two executions of one item that overlap are noted.
"""

import fcntl
import os
import sys
import time
from pathlib import Path


def main(side: str, output: str, item: str) -> int:
    """Works on one item; the exit status belongs to its kind."""
    run, serial = os.environ["NIGHTDESK_RUN"], os.environ["NIGHTDESK_ATTEMPT"]
    book = os.open(f"{side}/{run}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(word: str, value: int) -> None:
        os.write(book, f"{word} {item} {serial} {value}\n".encode())

    lock = os.open(f"{side}/{run}.{item}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlap", os.getpid())
    note("begin", os.getpid())
    os.write(1, f"works on {item}\n".encode())
    status = work(item, output, int(count_of(side, run, item)))
    note("end", status)
    return status


def count_of(side: str, run: str, item: str) -> int:
    """How often the item was begun."""
    return sum(
        line.startswith(f"begin {item} ") for line in Path(side, f"{run}.log").read_text().splitlines()
    )


def work(item: str, output: str, begun: int) -> int:
    """What the kind of the item wants."""
    kind = item.partition("-")[0]
    if kind == "bad":
        os.write(1, b"Error: this item is bad\n")
        return 3
    if kind == "flaky" and begun < 2:
        return 75
    if kind == "hang":
        time.sleep(600)
    if kind == "slow":
        time.sleep(0.4)
    if kind == "tree":
        grow()
    Path(output).write_text("nothing of use\n" if kind == "invalid" else f"done {item}\n", encoding="ascii")
    return 0


def grow() -> None:
    """A child, and a grandchild in a session of its own; both are waited for."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.5)
            os._exit(0)
        os.wait()
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
