"""The engine's book of energy: runs and items by their times, the night from noon, nothing lost by a new engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.engine.energy import EnergyKeeper, last_noon_ns
from nightdesk.engine.store.history import History
from nightdesk.model.config import EnergySection
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import Flight, Run
from nightdesk.model.sample import Cpu, Device, Sample
from tests.support.exchanges import exchange as make_exchange

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


def kept_in(store: History, desk: Desk, settle_ns: int = 0) -> EnergyKeeper:
    return EnergyKeeper(
        desk.path, lambda: desk.runs, lambda: desk.rows, lambda: EnergySection(), store, settle_ns
    )


def test_an_exchange_still_has_its_energy_when_another_engine_runs(desk: Desk, tmp_path: Path) -> None:
    store = History(tmp_path / "desk.db", keep_ns=10**18, max_bytes=10**9)
    store.save_exchange(make_exchange(7, started_ns=NOW, ended_ns=NOW + 2 * NS))
    keeper = kept_in(store, desk)
    for second in range(-12, 0):
        keeper.take(sample(second, 10.0))
    desk.rows = [row(7, 0, 2), row(8, 0, None)]
    for second in (1, 2, 3):
        keeper.take(sample(second, 40.0))
    keeper.save()
    store.flush()
    desk.rows = []
    later = kept_in(store, desk)
    for second in range(100, 112):
        later.take(sample(second, 25.0))
    found = later.exchange(7, reply_tokens=30)
    # Half of 40 W for two seconds, and half of the 10 W that were idle then; what is idle now changes nothing.
    assert found.energy.gross_j == pytest.approx(40.0)
    assert found.energy.energy_j == pytest.approx(30.0)
    assert found.tokens_per_joule == pytest.approx(1.0)
    assert "idle use of 10.0 W taken off" in found.basis
    assert later.joules() == {7: pytest.approx(30.0)}
    with pytest.raises(UsageError, match="exchange 8"):  # was never recorded
        later.exchange(8)
    store.close()


def test_the_energy_of_an_exchange_is_forgotten_with_it(tmp_path: Path, desk: Desk) -> None:
    store = History(tmp_path / "desk.db", keep_ns=10**18, max_bytes=10**9)
    store.save_exchange(make_exchange(7, started_ns=NOW, ended_ns=NOW + 2 * NS))
    desk.rows = [row(7, 0, 2)]
    keeper = kept_in(store, desk)
    keeper.take(sample(1))
    keeper.save()
    store.flush()
    assert store.joules()
    store.close()
    again = History(tmp_path / "desk.db", keep_ns=1, max_bytes=10**9)
    deadline = time.monotonic() + 30
    while again.joules() and time.monotonic() < deadline:
        again.flush()
    assert again.joules() == {}
    again.close()


def test_news_of_a_short_exchange_may_come_after_the_sample_of_its_time(desk: Desk, tmp_path: Path) -> None:
    keeper = EnergyKeeper(desk.path, lambda: [], lambda: desk.rows, lambda: EnergySection(), None, 2 * NS)
    keeper.take(sample(1, 40.0))
    desk.rows = [msgspec.structs.replace(row(7, 0, None), ended_ns=NOW + NS // 2)]
    keeper.take(sample(2, 40.0))
    keeper.take(sample(3, 40.0))
    assert keeper.exchange(7).energy.gross_j == pytest.approx(20.0)
    keeper.save()
    night = keeper.desk()
    assert night is not None and night.energy.gross_j == pytest.approx(120.0)


def test_samples_that_overlap_count_their_time_once(desk: Desk) -> None:
    desk.runs = [run()]
    for second in (1, 2, 3):
        desk.keeper.take(msgspec.structs.replace(sample(second, 30.0), elapsed_ns=NS * min(second, 2)))
    assert desk.keeper.run(desk.runs[0].id).energy.gross_j == pytest.approx(90.0)


def test_a_clock_that_was_set_back_does_not_stop_the_count(desk: Desk) -> None:
    keeper = EnergyKeeper(desk.path, lambda: [], lambda: [], lambda: EnergySection(), None, 2 * NS)
    for second in (5000, 5001, 1, 2, 3, 4, 5):
        keeper.take(sample(second, 10.0))
    keeper.save()
    night = keeper.desk()
    assert night is not None and night.energy.measured_ns >= 5 * NS


def test_idle_use_belongs_to_the_parts_that_were_measured(desk: Desk) -> None:
    """Where a second source comes and goes, its part of the idle use comes and goes with it."""

    def both(second: int, cpu: float, gpu: float) -> Sample:
        return msgspec.structs.replace(sample(second, gpu), cpu=Cpu(power_w=cpu))

    for second in range(-30, -15):
        desk.keeper.take(both(second, 20.0, 10.0))
    for second in range(-15, 0):
        desk.keeper.take(sample(second, 10.0))
    desk.runs = [run()]
    for second in (1, 2):
        desk.keeper.take(both(second, 50.0, 40.0))
    for second in (3, 4):
        desk.keeper.take(sample(second, 40.0))
    energy = desk.keeper.run(desk.runs[0].id).energy
    assert energy.gross_j == pytest.approx(2 * 90 + 2 * 40)
    assert energy.energy_j == pytest.approx(2 * 60 + 2 * 30)


def test_a_gap_is_missing_and_never_counted_as_zero(desk: Desk) -> None:
    desk.runs = [run()]
    desk.keeper.take(sample(1, 30.0))
    desk.keeper.take(sample(2, None))
    desk.keeper.take(sample(3000, 30.0))
    desk.keeper.take(msgspec.structs.replace(sample(9000), elapsed_ns=6000 * NS))
    energy = desk.keeper.run(desk.runs[0].id).energy
    assert (energy.measured_ns, energy.gross_j, energy.mean_w) == (2 * NS, 60.0, 30.0)


def test_cards_that_are_alike_are_counted_in_the_sentence(desk: Desk) -> None:
    cards = tuple(Device(id=str(at), kind="gpu", name="H100", power_w=100.0) for at in range(8))
    desk.keeper.take(msgspec.structs.replace(sample(1), devices=cards))
    night = desk.keeper.desk()
    assert night is not None and night.parts == ("8 x H100",) and night.energy.mean_w == 800.0
