"""A process that has nothing to do with the desk and must never get a signal: notes each one it gets."""

import os
import signal
import sys
from pathlib import Path


def main(notes: str) -> None:
    """Waits for ever, with a child that does the same."""

    def heard(number: int, _frame: object) -> None:
        with Path(notes).open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {number}\n")

    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, heard)
    os.fork()
    os.write(1, f"{os.getpid()}\n".encode())
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
