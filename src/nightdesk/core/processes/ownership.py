"""Whose process is it: part of a run, watched, a model server, left behind, or none of ours.

Calling something an orphan needs evidence. That process 1 is the parent proves nothing: services are started so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from nightdesk.core.processes.tree import ancestors
from nightdesk.model.process import Ownership

Kind = Literal["keeper", "nightdesk", "runner", "service", "watched", "other"]
"""What a command line alone tells. A runner loads models for a model server and never lives without one."""

_INITS = frozenset(
    {"systemd", "launchd", "init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan"}
)
_READERS = frozenset(
    {
        "vim",
        "vi",
        "nvim",
        "nano",
        "emacs",
        "less",
        "more",
        "man",
        "tail",
        "head",
        "cat",
        "bat",
        "grep",
        "egrep",
        "rg",
    }
    | {"watch", "pgrep", "pkill", "tmux", "screen", "lnav", "code", "micro", "hx", "find", "ls", "ssh", "tl"}
)
"""Programs whose arguments name a file or a word without running it."""
_SERVERS = frozenset(
    {"llama-server", "llama_server", "whisper-server", "llamafile", "text-generation-launcher", "koboldcpp"}
    | {
        "text-generation-server",
        "tritonserver",
        "local-ai",
        "localai",
        "llama-swap",
        "tabbyapi",
        "infinity_emb",
    }
    | {"mlx_lm.server", "ollama-darwin", "lemonade-server"}
)
_SERVER_MODULES = (
    "vllm.entrypoints",
    "sglang.launch_server",
    "llama_cpp.server",
    "mlx_lm.server",
    "mlx_lm server",
)
_RUNNERS = frozenset({"ollama_llama_server", "ollama-runner", "ollama_runner"})
_INTERPRETERS = ("python", "pypy", "uv", "node", "bash", "sh", "zsh", "ruby", "perl")


class Facts(NamedTuple):
    """What ownership depends on. Everything but the parent is fixed from one exec to the next."""

    pid: int
    ppid: int
    group: int
    session: int
    name: str
    kind: Kind
    marker: str | None
    earlier_ppid: int | None = None
    """The parent that we saw before the process was adopted by another."""
    recorded: str | None = None
    """The run whose record names exactly this process."""
    elsewhere: bool = False
    """It bears the marker of another desk, which looks after it."""


class Owner(NamedTuple):
    """Whose a process is, and why it is an orphan where it is one."""

    owner: Ownership
    run: str | None = None
    job: str | None = None
    orphan_reason: str | None = None


_OTHER = Owner("other")


def classify(name: str, argv: tuple[str, ...], words: tuple[str, ...], keeper: bool = False) -> Kind:
    """What a process is by its name and arguments; ``words`` are the watch words in lower case."""
    if keeper:
        return "keeper"
    program = _base(argv[0]).lower() if argv else name.lower()
    if _is_nightdesk(program, argv):
        return "nightdesk"
    if _is_runner(program, argv):
        return "runner"
    if _is_server(program, name, argv):
        return "service"
    if program in _READERS:
        return "other"
    text = " ".join((name, *argv)).lower()
    return "watched" if any(word in text for word in words) else "other"


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _script(program: str, argv: tuple[str, ...]) -> str:
    """What an interpreter runs: ``-m module`` as the module, else the script's path; the program itself otherwise."""
    if not program.startswith(_INTERPRETERS):
        return argv[0] if argv else program
    for at, part in enumerate(argv[1:], 1):
        if part == "-m":
            return " ".join(argv[at + 1 : at + 3])
        if not part.startswith("-"):
            return part
    return ""


def _is_nightdesk(program: str, argv: tuple[str, ...]) -> bool:
    script = _script(program, argv)
    return _base(script) == "nightdesk" or script.startswith("nightdesk.") or "/nightdesk/engine/" in script


def part_of_nightdesk(kind: Kind, argv: tuple[str, ...]) -> str | None:
    """``engine``, ``capture``, ``sensors``, ``keeper``, else ``nightdesk``; None of other programs."""
    if kind == "keeper":
        return "keeper"
    if kind != "nightdesk":
        return None
    script = _script(_base(argv[0]).lower() if argv else "", argv).partition(" ")[0]
    last = script.rpartition(".")[2]
    return last if last in ("engine", "capture", "sensors") else "nightdesk"


def _is_runner(program: str, argv: tuple[str, ...]) -> bool:
    return program in _RUNNERS or (program == "ollama" and argv[1:2] == ("runner",))


def _is_server(program: str, name: str, argv: tuple[str, ...]) -> bool:
    if program == "ollama":
        return not argv[1:] or argv[1] in ("serve", "app")
    script = _script(program, argv)
    if program in _SERVERS or _base(script).lower() in _SERVERS or script.startswith(_SERVER_MODULES):
        return True
    if _base(script) in ("vllm", "sglang"):
        return "serve" in argv or script.startswith("vllm serve")
    return name.startswith("VLLM::") or program.startswith("vllm::")


class Desk(NamedTuple):
    """What the desk knows about runs, and one question that is only asked about suspects."""

    active: Mapping[str, str]
    """Job of each active run."""
    known: Callable[[str], bool]
    """Whether this desk ever had the run."""
    hangup_ignored: Callable[[int], bool | None]
    """Whether the process ignores SIGHUP, as ``nohup`` arranges; None where the system doesn't tell."""


def owners(table: Mapping[int, Facts], desk: Desk) -> dict[int, Owner]:
    """The owner of each process of the table."""
    return _Owners(table, desk).all()


class _Owners:
    def __init__(self, table: Mapping[int, Facts], desk: Desk) -> None:
        self._table = table
        self._desk = desk
        self._found: dict[int, Owner] = {}
        self._zones: dict[int, Kind | None] = {}
        self._kept = {facts.marker for facts in table.values() if facts.kind == "keeper"}
        self._parents = {pid: facts.ppid for pid, facts in table.items()}

    def all(self) -> dict[int, Owner]:
        for pid in self._table:
            for above in reversed([pid, *self._unknown_above(pid)]):
                if above not in self._found:
                    self._found[above] = self._one(self._table[above])
        return self._found

    def _unknown_above(self, pid: int) -> list[int]:
        """Ancestors whose owner is not known yet, nearest first: they are judged before their children."""
        parent = self._parents.get(pid)
        if parent is None or parent in self._found:
            return []
        return [above for above in ancestors(pid, self._parents) if above in self._table]

    def _one(self, facts: Facts) -> Owner:
        above = self._found.get(facts.ppid, _OTHER)
        zone = self._enter(facts)
        if facts.kind == "keeper":
            return self._keeper(facts)
        if zone == "nightdesk":
            return _OTHER
        run = facts.marker or facts.recorded or above.run
        if run is not None:
            return self._of_run(facts, run)
        return self._unmarked(facts, above)

    def _keeper(self, facts: Facts) -> Owner:
        job = self._desk.active.get(facts.marker or "")
        return _OTHER if job is None else Owner("run", facts.marker, job)

    def _enter(self, facts: Facts) -> Kind | None:
        """The nearest keeper or Nightdesk program at or above it: who started what is below the engine."""
        kind = facts.kind if facts.kind in ("keeper", "nightdesk") else self._zones.get(facts.ppid)
        self._zones[facts.pid] = kind
        return kind

    def _of_run(self, facts: Facts, run: str) -> Owner:
        job = self._desk.active.get(run)
        if job is not None:
            return Owner("run", run, job)
        if self._zones[facts.pid] == "keeper" or run in self._kept:
            return _OTHER
        if facts.recorded == run and facts.marker is None:
            reason = f"The record of run {run} names it, and that run is over; its own marker is gone."
            return Owner("orphan", run, None, reason)
        if self._desk.known(run):
            return Owner("orphan", run, None, f"It was left behind by run {run}, which ended.")
        return Owner("orphan", run, None, f"It was left behind by run {run}, whose keeper is gone.")

    def _unmarked(self, facts: Facts, above: Owner) -> Owner:
        if facts.kind == "runner":
            return self._runner(facts, above)
        if facts.kind == "service" or above.owner == "service":
            return Owner("service")
        if facts.kind == "watched":
            reason = self._why_orphan(facts)
            return Owner("orphan", orphan_reason=reason) if reason else Owner("watched")
        return Owner("watched") if above.owner in ("watched", "orphan") else _OTHER

    def _runner(self, facts: Facts, above: Owner) -> Owner:
        if above.owner == "other" and self._adopted(facts):
            return Owner("orphan", orphan_reason="It loads models for a model server that is gone.")
        return Owner("service")

    def _adopted(self, facts: Facts) -> bool:
        parent = self._table.get(facts.ppid)
        return facts.ppid == 1 or (parent is not None and parent.name in _INITS)

    def _why_orphan(self, facts: Facts) -> str | None:
        """Evidence that a watched process lost what it worked for; None where there is none, or another desk's matter.

        A session leader is a service or was detached on purpose, and so was what ignores SIGHUP (``nohup``).
        """
        if facts.elsewhere or not self._adopted(facts) or facts.session == facts.pid or facts.session <= 0:
            return None
        adopter = self._table.get(facts.ppid)
        by = f"{adopter.name if adopter else 'process'} ({facts.ppid}) has adopted it"
        if facts.earlier_ppid is not None:
            reason = f"Its parent, process {facts.earlier_ppid}, ended while it ran; {by}."
        elif facts.session not in self._table:
            reason = f"The session that it was started in has ended; {by}."
        elif facts.group != facts.pid and facts.group not in self._table:
            reason = f"The program that started it, process {facts.group}, has ended; {by}."
        else:
            return None
        return None if self._desk.hangup_ignored(facts.pid) is not False else reason
