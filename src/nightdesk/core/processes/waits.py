"""What a process waits for, in words, from its state and the kernel function that it sleeps in."""

from __future__ import annotations

_STATES = {
    "R": "runs, or waits for a processor",
    "T": "stopped: it was paused (SIGSTOP); resume lets it go on",
    "t": "stopped: a debugger holds it",
    "Z": "has ended; its parent has not collected its exit status",
    "X": "has ended",
    "I": "sleeps (an idle part of the kernel)",
}
_PLACES = (
    ("futex", "a lock, or another thread"),
    ("nanosleep", "a timer (sleep)"),
    ("epoll", "input from sockets or pipes"),
    ("poll", "input from sockets or pipes"),
    ("select", "input from sockets or pipes"),
    ("pipe_write", "room in a pipe: nobody reads what it writes"),
    ("pipe", "data from a pipe"),
    ("tty", "input from a terminal"),
    ("n_tty", "input from a terminal"),
    ("do_wait", "a child process to end"),
    ("wait_consider", "a child process to end"),
    ("inet_csk_accept", "a connection from a client"),
    ("accept", "a connection from a client"),
    ("sk_wait_data", "an answer from the network"),
    ("tcp_recv", "an answer from the network"),
    ("skb_wait", "data from a socket"),
    ("unix_stream", "data from a local socket"),
    ("connect", "a connection to be opened"),
    ("nfs", "a network disk (NFS)"),
    ("rpc_wait", "a network disk (NFS)"),
    ("fuse", "a file system outside the kernel (FUSE)"),
    ("jbd2", "the disk (journal)"),
    ("io_schedule", "the disk"),
    ("folio_wait", "the disk, or memory that was swapped out"),
    ("wait_on_page", "the disk, or memory that was swapped out"),
    ("blk", "the disk"),
    ("nvidia", "the NVIDIA driver"),
    ("nv_", "the NVIDIA driver"),
    ("uvm", "the NVIDIA driver (memory)"),
    ("amdgpu", "the AMD driver"),
    ("kfd", "the AMD driver"),
    ("dma_fence", "the graphics driver"),
    ("sigsuspend", "a signal"),
    ("sigtimedwait", "a signal"),
    ("signal", "a signal"),
    ("flock", "a lock on a file"),
    ("fcntl_setlk", "a lock on a file"),
)


def waits_for(state: str, place: str) -> str | None:
    """A sentence's end such as ``waits for a lock, or another thread (futex_wait_queue)``.

    ``state`` is the letter of ``ps``; ``place`` the kernel function, empty or ``0`` where it is not known. None
    where nothing can be said.
    """
    if state in _STATES:
        return _STATES[state]
    known = place.strip().strip("\0")
    if known in ("", "0"):
        if state == "D":
            return "waits for a disk or a driver and can't be interrupted, not even by SIGKILL"
        return None
    words = next((words for part, words in _PLACES if part in known), "something in the kernel")
    hard = "; it can't be interrupted, not even by SIGKILL" if state == "D" else ""
    return f"waits for {words} ({known}){hard}"
