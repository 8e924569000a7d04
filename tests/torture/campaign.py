"""The rounds of the crash campaign: a run, strikes at random moments, then the question whether all is right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, ItemMove, Run, RunAction, StartRun
from tests.torture.place import Place, quietly, until
from tests.torture.truth import Round, faults_of

KINDS = ("ok", "ok", "ok", "slow", "slow", "tree", "bad", "flaky", "invalid")
LONGEST_PAUSE = 0.4
LOOK_PAUSE = 0.05
"""Between two questions after a run: who asks all the time only slows the machine."""
MOVES: tuple[Literal["first", "last", "skip", "again"], ...] = ("first", "last", "skip", "again", "again")
WEIGHTS = {"command killed": 9, "keeper killed": 6, "keeper and engine killed": 4, "paused, engine killed": 3}
"""Beside the 2 of all others: what ends processes of the run is what it is about."""


@dataclass
class Report:
    """What a campaign saw."""

    rounds: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    executions: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Report) -> None:
        """What another campaign saw meanwhile."""
        self.rounds += other.rounds
        self.strikes.update(other.strikes)
        self.ends.update(other.ends)
        self.items.update(other.items)
        self.executions += other.executions
        self.faults += other.faults
        self.seconds = max(self.seconds, other.seconds)


class Campaign:
    """Rounds in one place, repeatable as far as the moments of processes are."""

    def __init__(self, place: Place, seed: int, keep: Path | None = None) -> None:
        """``keep`` gets the folder of each run that broke a promise, and the engine's log beside it."""
        self.place = place
        self.report = Report()
        self._keep = keep
        self._seed = seed
        self._chance = random.Random(seed)
        self._viewers: list[subprocess.Popen[bytes]] = []
        self._strikes: dict[str, Callable[[Round], None]] = {
            "engine killed": self._kill_engine,
            "keeper killed": self._kill_keeper,
            "keeper and engine killed": self._kill_both,
            "command killed": self._kill_command,
            "everything killed": self._kill_everything,
            "viewer killed": self._kill_viewer,
            "verb killed": self._kill_verb,
            "two engines at once": self._race,
            "engine ended": self._end_engine,
            "disk full": self._fill_disk,
            "disk full, engine killed": self._fill_and_kill,
            "database locked": self._lock_database,
            "database locked, engine killed": self._lock_and_kill,
            "paused": partial(self._act, "pause"),
            "paused, engine killed": self._pause_and_kill,
            "held": partial(self._act, "hold"),
            "resumed": partial(self._act, "resume"),
            "items moved": self._move_items,
            "stopped": partial(self._act, "stop"),
            "stopped, engine killed": self._stop_and_kill,
        }
        if place.no_disk:
            self._strikes = {word: call for word, call in self._strikes.items() if "disk" not in word}

    def play(self, numbers: Iterable[int], seconds: float = 3600) -> Report:
        """The rounds with these numbers, fewer where the time is over before."""
        began = time.monotonic()
        self.place.up()
        for number in numbers:
            if time.monotonic() - began > seconds:
                break
            self._chance = random.Random(f"{self._seed}/{number - 1}")
            try:
                self._round(number)
            except (AssertionError, NightdeskError) as fault:
                self.report.faults.append(f"round {number} {fault}")
                break
            finally:
                self.report.seconds = time.monotonic() - began
        return self.report

    def _round(self, number: int) -> None:
        chance = self._chance
        items = [f"{kind}-{at}" for at, kind in enumerate(chance.choices(KINDS, k=chance.randint(5, 9)))]
        if chance.random() < 0.1:
            items.append("hang-99")
        (self.place.side / "items").write_text("\n".join(items) + "\n", encoding="ascii")
        for output in (self.place.side / "out").iterdir():
            output.unlink()
        job = chance.choice(("serial", "wide"))
        run = self.place.ask(lambda: self.place.engine.start(StartRun(job=job)))
        this = Round(run.id, tuple(items))
        try:
            for word in self._words(chance):
                time.sleep(chance.random() * LONGEST_PAUSE)
                this.strikes.append(word)
                self._strikes[word](this)
            this.ended = self._to_the_end(run.id)
        except (AssertionError, NightdeskError) as fault:
            self._keep_run(number, this)
            raise AssertionError(f"({', '.join(this.strikes)}): {fault}") from fault
        self._judge(number, this)

    def _words(self, chance: random.Random) -> list[str]:
        """The strikes of a round. A stop comes last, and not often: it ends the run."""
        gentle = [word for word in self._strikes if not word.startswith("stopped")]
        words = chance.choices(gentle, [WEIGHTS.get(word, 2) for word in gentle], k=chance.randint(2, 5))
        if chance.random() < 0.15:
            words.append(chance.choice([word for word in self._strikes if word.startswith("stopped")]))
        return words

    def _to_the_end(self, run_id: str) -> Run:
        """The ended run. What stands still is resumed, as the user would do."""
        engine = self.place.engine

        def look() -> Run | None:
            run: Run = self.place.ask(lambda: engine.run(run_id))
            if run.state == "paused" or run.holding or "after this item" in (run.reason or ""):
                quietly(lambda: self.place.ask(lambda: engine.act(run_id, "resume")))
            return run if run.state in ENDED else None

        try:
            return until(look, f"the end of {run_id}", pause=LOOK_PAUSE)
        except AssertionError as fault:
            run = self.place.ask(lambda: engine.run(run_id))
            raise AssertionError(f"{fault}; it is {run.state}: {run.reason}; {run.flights}") from fault

    def _judge(self, number: int, this: Round) -> None:
        report = self.report
        report.rounds += 1
        report.strikes.update(this.strikes)
        assert this.ended
        report.ends[this.ended.state] += 1
        faults = faults_of(self.place, this)
        report.executions += this.executions
        report.items.update(this.states)
        report.faults += [f"round {number} ({', '.join(this.strikes)}): {fault}" for fault in faults]
        if faults:
            self._keep_run(number, this)

    def _keep_run(self, number: int, this: Round) -> None:
        if self._keep:
            self.place.keep(this.run_id, self._keep / f"seed {self._seed} round {number}")

    # strikes

    def _kill_engine(self, this: Round) -> None:
        self.place.kill_engine()
        if self._chance.random() < 0.5:
            time.sleep(self._chance.random() * LONGEST_PAUSE)
        self.place.up()

    def _end_engine(self, this: Round) -> None:
        """As for an upgrade: an orderly end, then another engine."""
        before = self.place.engine_pid()
        quietly(self.place.engine.shutdown)
        until(lambda: before is None or self.place.engine_pid() != before, "the engine's end")
        self.place.up()

    def _race(self, this: Round) -> None:
        self.place.kill_engine()
        verbs = [self.place.command("up") for _ in range(2)]
        until(lambda: all(verb.poll() is not None for verb in verbs), "both to have started an engine")
        self.place.up()

    def _kill_keeper(self, this: Round) -> None:
        if keepers := self.place.keepers():
            _kill(self._chance.choice(keepers))
            this.kills += 1

    def _kill_both(self, this: Round) -> None:
        self._kill_keeper(this)
        time.sleep(self._chance.random() * 0.1)
        self._kill_engine(this)

    def _kill_command(self, this: Round) -> None:
        if commands := self.place.of_run(this.run_id):
            _kill(self._chance.choice(commands))
            this.kills += 1

    def _kill_everything(self, this: Round) -> None:
        """As a loss of power does."""
        self.place.kill_engine()
        for pid in (*self.place.keepers(), *self.place.of_run(this.run_id)):
            _kill(pid)
            this.kills += 1
        self.place.up()

    def _kill_viewer(self, this: Round) -> None:
        """Kill the client of the round before, start the next."""
        for viewer in self._viewers:
            viewer.kill()
        self._viewers = [self.place.viewer()]

    def _kill_verb(self, this: Round) -> None:
        verb = self.place.command(self._chance.choice(("pause", "resume", "status")), this.run_id)
        time.sleep(self._chance.random() * 0.4)
        verb.kill()

    def _fill_disk(self, this: Round) -> None:
        with self.place.full_disk():
            time.sleep(0.2 + self._chance.random())

    def _fill_and_kill(self, this: Round) -> None:
        with self.place.full_disk():
            time.sleep(self._chance.random())
            self.place.kill_engine()
            time.sleep(self._chance.random() * 0.5)
        self.place.up()

    def _lock_database(self, this: Round) -> None:
        with self.place.locked_database():
            time.sleep(0.2 + self._chance.random())

    def _lock_and_kill(self, this: Round) -> None:
        with self.place.locked_database():
            self.place.kill_engine()
            verb = self.place.command("up")
            time.sleep(0.2 + self._chance.random())
        until(lambda: verb.poll() is not None, "an engine in spite of the locked database")
        self.place.up()

    def _act(self, action: RunAction, this: Round) -> None:
        quietly(lambda: self.place.ask(lambda: self.place.engine.act(this.run_id, action)))

    def _move_items(self, this: Round) -> None:
        """By hand: first, last, put aside, again."""
        where = self._chance.choice(MOVES)
        chosen = tuple(self._chance.sample(this.items, self._chance.randint(1, 3)))
        if where == "skip":
            this.put_aside.update(chosen)
        move = ItemMove(items=chosen, where=where)
        quietly(lambda: self.place.ask(lambda: self.place.engine.move_items(this.run_id, move)))

    def _pause_and_kill(self, this: Round) -> None:
        self._act_and_kill("pause", this)

    def _stop_and_kill(self, this: Round) -> None:
        self._act_and_kill("stop", this)

    def _act_and_kill(self, action: RunAction, this: Round) -> None:
        """The engine is gone while it obeys."""
        asking = threading.Thread(target=quietly, args=(lambda: self.place.engine.act(this.run_id, action),))
        asking.start()
        time.sleep(self._chance.random() * 0.06)
        self._kill_engine(this)
        asking.join()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
