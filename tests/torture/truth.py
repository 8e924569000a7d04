"""What must be true after each round of the crash campaign, compared with what the items noted themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from nightdesk.cli.jobs import exit_status
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.engine.processes.table import read_table
from nightdesk.model.job import ItemRecord, Run
from tests.torture.place import Place, until

STRUCK = {"killed", "lost"}
"""How an item fails that is not bad itself."""
EXPECTED = {"bad": ("error", "exit status 3"), "invalid": ("invalid_output", "of no use")}


@dataclass
class Round:
    """One run and what was done to it."""

    run_id: str
    items: tuple[str, ...]
    strikes: list[str] = field(default_factory=list)
    kills: int = 0
    """Keepers and commands that were killed by the campaign."""
    ended: Run | None = None
    put_aside: set[str] = field(default_factory=set)
    """Items that the campaign wanted to be passed over; some may have been in work or over already."""
    executions: int = 0
    states: list[str] = field(default_factory=list)


@dataclass
class Side:
    """What the items noted: (serial, exit status or pid) in the order of time."""

    begun: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    overlaps: list[str] = field(default_factory=list)


def read_side(path: Path) -> Side:
    """The side file of a run; empty where nothing of it ever ran."""
    side = Side()
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        word, item, serial, value = line.split()
        if word == "overlap":
            side.overlaps.append(line)
        else:
            book = side.begun if word == "begin" else side.ended
            book[item].append((int(serial), int(value)))
    return side


def faults_of(place: Place, this: Round) -> list[str]:
    """Every promise that a round broke."""
    assert this.ended
    side = read_side(place.side / f"{this.run_id}.log")
    this.executions = sum(len(each) for each in side.begun.values())
    records = tuple(RunFolder(Path(this.ended.folder)).items())
    newest = {record.item: record for record in records}
    faults = [f"two executions overlap: {line}" for line in side.overlaps]
    faults += _lost_items(this, newest)
    for record in newest.values():
        this.states.append("waiting" if record.state == "again" else record.state)
        tries = {each.serial: each.attempts for each in records if each.item == record.item and each.serial}
        faults += _item_faults(this, side, record, sum(tries.values()))
    faults += _double_records(records) + _serial_faults(side)
    faults += _end_faults(this.ended, newest) + _left_processes(place, this, side) + place.harm()
    return faults


def _lost_items(this: Round, newest: dict[str, ItemRecord]) -> list[str]:
    assert this.ended
    if this.ended.state == "stopped":
        this.states += ["waiting"] * (len(this.items) - len(newest))
        return []
    lost = [item for item in this.items if item not in newest or newest[item].state == "again"]
    return [f"{item} was lost: it has no record of its end" for item in lost]


def _item_faults(this: Round, side: Side, record: ItemRecord, tries: int) -> list[str]:
    """``tries`` are the attempts of all records of the item: it may have been done again by hand."""
    item, begun, ended = record.item, side.begun[record.item], side.ended[record.item]
    kind = item.partition("-")[0]
    faults = []
    if record.state == "skipped":
        # the output was valid: of an execution whose keeper was killed before it could say so
        is_known = item in this.put_aside or any(status == 0 for _, status in ended)
        return [] if is_known else [f"{item} was skipped without an output"]
    if record.state == "again":
        return []
    if item not in this.put_aside and not len(begun) <= tries <= len(begun) + this.kills:
        faults.append(f"{item} was begun {len(begun)} times, recorded are {tries} attempts")
    deciding = dict(ended).get(record.serial or 0)
    if record.state == "done" and deciding != 0:
        faults.append(f"{item} is done by attempt {record.serial}, which ended with {deciding}")
    if record.state == "failed" and record.failure:
        said = (record.failure.kind, record.failure.evidence)
        kind_said, words = EXPECTED.get(kind, ("", ""))
        known = said[0] == kind_said and words in said[1]
        # its other attempts were killed before their first statement, so this was its first execution
        # the check of its output carries the marker of the run too, and was killed each time
        known |= said[0] == "invalid_output" and "ended by signal" in said[1] and this.kills > 2
        known |= kind == "flaky" and deciding == 75 and len(begun) == 1 and "exit status 75" in said[1]
        if not (known or (said[0] in STRUCK and this.kills) or (kind == "hang" and said[0] == "timeout")):
            faults.append(f"{item} failed for a wrong reason: {said}, its attempts ended {ended}")
    if record.state == "done" and kind in ("bad", "invalid", "hang"):
        faults.append(f"{item} can't be done, and is said to be")
    return faults


def _double_records(records: tuple[ItemRecord, ...]) -> list[str]:
    """A record may be written again after a full disk; another attempt after a final one needs a word of the user."""
    serials: dict[str, set[int | None]] = defaultdict(set)
    wanted = Counter(record.item for record in records if record.state == "again")
    for record in records:
        if record.state != "again":
            serials[record.item].add(record.serial)
    return [
        f"{item} was over more than once: {seen}"
        for item, seen in serials.items()
        if len(seen) > 1 + wanted[item]
    ]


def _serial_faults(side: Side) -> list[str]:
    seen = Counter(serial for each in side.begun.values() for serial, _ in each)
    return [f"attempt {serial} was executed {count} times" for serial, count in seen.items() if count > 1]


def _end_faults(ended: Run, newest: dict[str, ItemRecord]) -> list[str]:
    failed = sum(record.state == "failed" for record in newest.values())
    wanted = {"done": 0, "failed": 1, "stopped": 130}.get(ended.state)
    faults = []
    if ended.state == "lost":
        faults.append("the run is lost")
    elif exit_status(ended) != wanted:
        faults.append(f"the run is {ended.state}, its exit status {exit_status(ended)}")
    if ended.state in ("done", "failed") and (ended.state == "failed") != bool(failed):
        faults.append(f"the run is {ended.state} with {failed} failed items")
    done = sum(record.state in ("done", "skipped") for record in newest.values())
    if (ended.items_done, ended.items_failed) != (done, failed):
        faults.append(
            f"the run counts {(ended.items_done, ended.items_failed)}, its records {(done, failed)}"
        )
    return faults


def _left_processes(place: Place, this: Round, side: Side) -> list[str]:
    """By marker, by session and by the folder of keepers. What a command left when it was struck ends by itself."""
    sessions = {pid for each in side.begun.values() for _, pid in each}

    def left() -> dict[int, str]:
        found = place.leftovers()
        found.update({p: e.name for p, e in read_table().items() if e.session in sessions and e.alive})
        return found

    try:
        until(lambda: not left(), "no process to be left", 5)
    except AssertionError:
        return [f"processes are left: {left()}"]
    return []
