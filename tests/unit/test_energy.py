"""Joules: integrated over true lengths, shared out, idle use taken off."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.sensors.energy import (
    NS,
    IdlePower,
    Share,
    Span,
    Tally,
    add_items,
    add_sample,
    basis,
    bill,
    divide,
    power_of,
    tokens_per_joule,
    window_of,
)
from nightdesk.model.sample import Cpu, Device, Sample


def sample(at_s: float, watts: float | None, elapsed_s: float = 1.0, gpu: float | None = 0.5) -> Sample:
    device = Device(id="g", kind="gpu", name="GPU", power_w=watts, active_ratio=gpu)
    return Sample(at_ns=int(at_s * NS), elapsed_ns=int(elapsed_s * NS), source="t", devices=(device,))


def test_energy_is_power_times_the_true_length_of_the_sample() -> None:
    tallies: dict[str, Tally] = {}
    add_sample(sample(10.0, 30.0, 1.027), {"a": Span(0)}, tallies, 9)
    add_sample(sample(11.0, 50.0, 0.973), {"a": Span(0)}, tallies, 9)
    energy = tallies["a"].energy(10.0)
    assert energy.gross_j == pytest.approx(30 * 1.027 + 50 * 0.973)
    assert energy.energy_j == pytest.approx(energy.gross_j - 10 * 2.0)
    assert (energy.peak_w, energy.gpu_peak_ratio) == (50.0, 0.5)
    assert energy.mean_w == pytest.approx(energy.gross_j / 2)


def test_several_at_once_share_each_moment_equally() -> None:
    tallies: dict[str, Tally] = {}
    # a runs all the second, b its second half.
    add_sample(sample(1.0, 40.0), {"a": Span(0), "b": Span(NS // 2)}, tallies, 9)
    assert tallies["a"].gross_j == pytest.approx(40 * 0.75)
    assert tallies["b"].gross_j == pytest.approx(40 * 0.25)
    assert (tallies["a"].shared_ns, tallies["a"].measured_ns) == (NS // 2, NS)


def test_an_exchange_shorter_than_a_sample_gets_its_part_of_it() -> None:
    shares = divide(Span(0, NS), {"x": Span(NS // 4, NS // 2), "later": Span(2 * NS)})
    assert shares == {"x": Share(NS / 4, NS // 4, 0)}


def test_items_share_what_their_run_had() -> None:
    tallies: dict[str, Tally] = {}
    one = sample(1.0, 40.0)
    share = divide(Span(0, NS), {"run": Span(0), "other": Span(0)})["run"]
    add_items(one, share, {"i": Span(0), "j": Span(0)}, tallies, 9)
    assert [round(each.gross_j, 6) for each in tallies.values()] == [10.0, 10.0]


def test_without_an_idle_use_nothing_is_taken_off_and_that_is_said() -> None:
    idle = IdlePower()
    for _ in range(9):
        idle.take(9.0)
    before = idle.watts
    idle.take(11.0)
    assert (before, idle.watts) == (None, 9.0)
    assert "nothing taken off" in basis(("CPU",), None)
    assert "9.0 W taken off" in basis(("CPU",), 9.0)
    tally = Tally()
    tally.add(20.0, None, Share(NS, NS, 0))
    assert tally.energy(None).energy_j is None
    assert tally.energy(25.0).energy_j == 0.0


def test_a_sample_without_power_or_through_a_sleep_counts_for_nothing() -> None:
    tallies: dict[str, Tally] = {}
    assert add_sample(sample(1.0, None), {"a": Span(0)}, tallies, 9) == {}
    assert add_sample(sample(9000.0, 30.0, 8000.0), {"a": Span(0)}, tallies, 9) == {}
    assert window_of(sample(1.0, 3.0, 0.0)) is None
    assert tallies == {}


def test_nothing_is_counted_twice() -> None:
    one = Sample(
        at_ns=NS,
        elapsed_ns=NS,
        source="t",
        cpu=Cpu(power_w=3.0),
        devices=(Device(id="g", kind="gpu", name="GPU", power_w=5.0),),
        package_power_w=8.0,
    )
    assert power_of(one) == (8.0, ("CPU", "GPU"))


def test_a_price_needs_a_price_per_kilowatt_hour() -> None:
    tally = Tally()
    tally.add(3600.0, None, Share(1000 * NS, 1000 * NS, 0))
    energy = tally.energy(3000.0)
    paid = bill(energy, 0.30, "EUR")
    assert paid.watt_hours == pytest.approx(1000)
    assert paid.price == pytest.approx(0.30)
    assert bill(energy, None, "EUR").price is None
    assert tokens_per_joule(1200, energy) == pytest.approx(1200 / 600_000)
    assert tokens_per_joule(None, energy) is None


@settings(deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 9),
        st.tuples(st.integers(-500, 1500), st.integers(1, 1000)).map(lambda two: Span(two[0], sum(two))),
        max_size=6,
    )
)
def test_the_shares_of_a_window_never_exceed_it(spans: dict[int, Span]) -> None:
    shares = divide(Span(0, 1000), spans)
    covered = {
        at
        for span in spans.values()
        for at in range(max(0, span.start_ns), min(1000, 1000 if span.end_ns is None else span.end_ns))
    }
    assert sum(share.own for share in shares.values()) == pytest.approx(len(covered))
    assert all(share.shared <= share.present for share in shares.values())
