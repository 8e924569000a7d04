"""The engine's book of energy: runs and items by their times, the night from noon, nothing lost by a new engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.engine.energy import EnergyKeeper, last_noon_ns
from nightdesk.model.config import EnergySection
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import Flight, Run
from nightdesk.model.sample import Device, Sample

NS = 10**9
NOW = time.time_ns()


def run(**words: Any) -> Run:
    given: dict[str, Any] = {
        "id": "job-20251121-230000-000001",
        "job": "job",
        "mode": "full",
        "state": "running",
        "command": "x",
        "folder": "/",
        "created_ns": NOW,
        "started_ns": NOW,
    }
    return Run(**{**given, **words})


def sample(second: int, watts: float | None = 30.0) -> Sample:
    gpu = Device(id="g", kind="gpu", name="GPU", power_w=watts, active_ratio=0.5)
    return Sample(at_ns=NOW + second * NS, elapsed_ns=NS, source="t", devices=(gpu,))


def row(number: int, start: int, end: int | None) -> ExchangeRow:
    return ExchangeRow(
        id=number,
        state="running",
        started_ns=NOW + start * NS,
        ended_ns=None if end is None else NOW + end * NS,
        operation="chat",
        dialect="ollama",
        fragments=0,
        tail="",
    )


class Desk:
    """What an engine would tell the keeper."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "energy.json"
        self.runs: list[Run] = []
        self.rows: list[ExchangeRow] = []
        self.keeper = self.again()

    def again(self) -> EnergyKeeper:
        self.keeper = EnergyKeeper(
            self.path, lambda: self.runs, lambda: self.rows, lambda: EnergySection(price_per_kwh=0.5)
        )
        return self.keeper


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_run_pays_for_its_time_above_what_the_machine_uses_idle(desk: Desk) -> None:
    for second in range(-12, 0):
        desk.keeper.take(sample(second, 10.0))
    desk.runs = [run()]
    for second in range(1, 11):
        desk.keeper.take(sample(second, 30.0))
    found = desk.keeper.run(desk.runs[0].id, reply_tokens=400)
    assert found.energy.gross_j == pytest.approx(300)
    assert found.energy.energy_j == pytest.approx(200)
    assert found.tokens_per_joule == pytest.approx(2.0)
    assert found.bill.price == pytest.approx(300 / 3.6e6 * 0.5)
    assert "idle use of 10.0 W taken off" in found.basis


def test_a_paused_run_and_a_waiting_one_use_nothing(desk: Desk) -> None:
    desk.runs = [run(state="paused", paused_ns=NOW + NS // 2), run(id="other-1-1-1", started_ns=None)]
    desk.keeper.take(sample(1))
    desk.keeper.take(sample(2))
    assert desk.keeper.run(desk.runs[0].id).energy.measured_ns == NS // 2
    with pytest.raises(UsageError, match="No energy is known"):
        desk.keeper.run("other-1-1-1")


def test_items_share_what_their_run_used_until_they_ended(desk: Desk) -> None:
    flights = (
        Flight(serial=1, item="a.mp3", attempt=1, started_ns=NOW),
        Flight(serial=2, item="b.mp3", attempt=1, started_ns=NOW),
    )
    desk.runs = [run(flights=flights)]
    desk.keeper.follow(desk.runs[0])
    desk.keeper.take(sample(1, 40.0))
    items = desk.keeper.run(desk.runs[0].id).items
    assert [(one.item, round(one.energy.gross_j, 6)) for one in items] == [("a.mp3", 20.0), ("b.mp3", 20.0)]
    desk.keeper.follow(msgspec.structs.replace(desk.runs[0], flights=()))
    ended = time.time_ns()
    after = msgspec.structs.replace(sample(0), at_ns=ended + 5 * NS)
    desk.keeper.take(after)
    assert sum(one.energy.gross_j for one in desk.keeper.run(desk.runs[0].id).items) == pytest.approx(40.0)


def test_an_exchange_shorter_than_a_sample_has_its_part(desk: Desk) -> None:
    desk.rows = [msgspec.structs.replace(row(7, 0, None), ended_ns=NOW + NS // 4)]
    desk.keeper.take(sample(1, 40.0))
    found = desk.keeper.exchange(7, reply_tokens=10)
    assert found.energy.gross_j == pytest.approx(10.0)
    with pytest.raises(UsageError, match="No energy is known of exchange 8"):
        desk.keeper.exchange(8)


def test_a_new_engine_goes_on_with_the_book(desk: Desk) -> None:
    desk.runs = [run()]
    desk.keeper.take(sample(1))
    desk.keeper.save()
    assert desk.path.stat().st_mode & 0o777 == 0o600
    desk.again().take(sample(2))
    assert desk.keeper.run(desk.runs[0].id).energy.gross_j == pytest.approx(60)
    night = desk.keeper.desk()
    assert night is not None
    assert night.parts == ("GPU",)
    assert night.energy.gross_j == pytest.approx(60)
    desk.path.write_text("{damaged")
    assert desk.again().desk() is None


def test_without_any_power_there_is_no_energy_and_no_file(desk: Desk) -> None:
    desk.keeper.take(sample(1, None))
    desk.keeper.save()
    assert desk.keeper.desk() is None
    assert not desk.path.exists()
    assert desk.keeper.report().runs == ()


def test_the_night_begins_at_noon() -> None:
    morning = time.mktime((2026, 3, 4, 7, 0, 0, 0, 0, -1))
    evening = time.mktime((2026, 3, 3, 22, 0, 0, 0, 0, -1))
    assert last_noon_ns(int(morning) * NS) == last_noon_ns(int(evening) * NS)
    assert last_noon_ns(int(evening) * NS) == int(time.mktime((2026, 3, 3, 12, 0, 0, 0, 0, -1))) * NS


@pytest.mark.parametrize("damage", [b"", b'{"idle_w": "\x80"}', b'{"runs": 7}', b"\0" * 90])
def test_a_damaged_book_is_begun_again(desk: Desk, damage: bytes) -> None:
    desk.path.write_bytes(damage)
    keeper = desk.again()
    assert keeper.desk() is None
    keeper.take(sample(1))
    keeper.save()
    assert desk.again().desk() is not None
