"""Energy of runs in a job's sheet and of exchanges in the profile: what was used, what it gave, what that rests on."""

from __future__ import annotations

from msgspec.structs import replace

from nightdesk.core.inspection.profile import Profiler
from nightdesk.model.energy import Bill, Energy, EnergyReport, ExchangeEnergy, RunEnergy
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.items import ItemDetail, ItemRow
from nightdesk.model.job import Run
from nightdesk.model.units import format_joules, format_watt_hours
from nightdesk.tui import asks
from nightdesk.tui.energy_facts import energy_facts, no_energy
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.screens.item import facts as item_facts
from nightdesk.tui.screens.item_rows import COLUMNS, item_line
from nightdesk.tui.screens.job import JobScreen
from nightdesk.tui.screens.profile_rows import energy_words
from tests.support.exchanges import ExchangeEngine, exchange
from tests.support.viewer import NOW, NS, FakeEngine, screen_text, snapshot, until, viewer

BASIS = "Measured: CPU, GPU; idle use of 9.4 W taken off; each moment shared equally among what ran."
SPENT = RunEnergy(
    run="report-1",
    energy=Energy(
        gross_j=180_000, energy_j=112_000, measured_ns=NS, mean_w=31.0, peak_w=52.0, gpu_mean_ratio=0.71
    ),
    bill=Bill(watt_hours=50.0, price=0.015, currency="EUR"),
    reply_tokens=140_000,
    tokens_per_joule=1.25,
    basis=BASIS,
)


async def test_a_jobs_sheet_tells_the_energy_of_the_run_and_what_it_rests_on(engine: FakeEngine) -> None:
    engine.first = snapshot()
    engine.spent = EnergyReport(runs=(SPENT,))
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "report" in screen_text(app))
        await pilot.press("G", "enter")
        await until(
            pilot, lambda: isinstance(app.screen, JobScreen) and "112 kJ above idle" in screen_text(app)
        )
        text = screen_text(app)
        assert "180 kJ in all" in text and "50 Wh" in text and "0.015 EUR" in text and "1.2 tokens/J" in text
        assert "mean 31.0 W, peak 52.0 W" in text and "idle use of 9.4 W taken off" in text


def test_a_run_of_which_nothing_is_known_says_why() -> None:
    (name, cell), *_ = no_energy("Nothing here reports its power: no energy is known.")
    assert name == "energy" and "Nothing here reports its power" in cell.plain
    unsure = RunEnergy(
        run="x", energy=Energy(gross_j=900.0, measured_ns=NS), bill=Bill(watt_hours=0.25), basis="b"
    )
    words = energy_facts(unsure, UNICODE)[0][1].plain
    assert "above idle" not in words and "900 J in all" in words


def test_a_profile_adds_up_the_energy_of_what_was_measured() -> None:
    rows = [
        ExchangeRow(id=number, state="complete", started_ns=NOW + number * NS, ended_ns=NOW + number * NS + NS,
                    operation="chat", dialect="ollama", model=model, fragments=1, tail="", reply_tokens=50)
        for number, model in ((1, "a"), (2, "a"), (3, "b"))
    ]  # fmt: skip
    profiler = Profiler(NOW + 100 * NS, joules={1: 40.0, 3: 10.5}.get)
    for row in rows:
        profiler.add(row)
    made = profiler.finish()
    assert (made.total.energy_mj, made.total.energy_count, made.total.energy_tokens) == (50_500, 2, 100)
    assert {group.name: group.energy_mj for group in made.models} == {"a": 40_000, "b": 10_500}
    assert energy_words(made.total) == "50.5 J, 2 tokens/J for 2 of them"


def test_energy_has_units_for_each_size() -> None:
    assert [format_joules(value) for value in (0.0, 12.34, 999.6, 12_345, 1_234_567, None)] == [
        "0.0 J", "12.3 J", "1.0 kJ", "12.3 kJ", "1.2 MJ", "–",
    ]  # fmt: skip
    assert [format_watt_hours(value) for value in (0.0, 0.000_06, 0.31, 12.3, 1234)] == [
        "0 Wh", "0.06 mWh", "0.31 Wh", "12 Wh", "1.23 kWh",
    ]  # fmt: skip


async def test_the_inspector_tells_what_an_exchange_used_and_what_that_rests_on() -> None:
    engine = ExchangeEngine(exchange(1), exchange(2))
    engine.spent_on[1] = ExchangeEnergy(
        exchange=1,
        energy=Energy(
            gross_j=2000, energy_j=1230, measured_ns=26 * NS, shared_ns=6 * NS, mean_w=80.0, peak_w=95.0
        ),
        bill=Bill(watt_hours=2000 / 3600, price=0.000167, currency="EUR"),
        tokens_per_joule=0.66,
        basis=BASIS,
    )
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(asks.OpenExchange(1))
        await until(pilot, lambda: "── text" in screen_text(app))
        await pilot.press("1")
        await until(pilot, lambda: "1.2 kJ above idle" in screen_text(app))
        text = screen_text(app)
        assert (
            "2.0 kJ in all" in text
            and "0.56 Wh" in text
            and "0.000167 EUR" in text
            and "0.66 tokens/J" in text
        )
        assert "mean 80.0 W, peak 95.0 W" in text and "measured for 26.0s, 6.0s of it shared" in text
        assert "idle use of 9.4 W taken off" in text
        await pilot.press("escape")
        app.post_message(asks.OpenExchange(2))
        await until(pilot, lambda: "Exchange 2" in screen_text(app))
        await pilot.press("1")
        await until(pilot, lambda: "Nothing here reports its power." in screen_text(app))
        assert "above idle" not in screen_text(app)


def test_an_items_line_and_sheet_tell_its_energy_only_where_it_was_measured() -> None:
    run = Run(id="r-1-1-1", job="r", mode="full", state="running", command="x", folder="/", created_ns=NOW)
    row = ItemRow(index=0, item="a.mp3", state="done", energy_j=4321.0)
    place = [column.key for column in COLUMNS].index("energy")
    assert item_line(row, run, NOW, UNICODE).cells[place].text == "4.3 kJ"
    unknown = replace(row, energy_j=None)
    assert item_line(unknown, run, NOW, UNICODE).cells[place].text == ""
    told = ItemDetail(
        run=run.id, row=row, energy=Energy(gross_j=7200, measured_ns=60 * NS, mean_w=120.0, peak_w=150.0)
    )
    words = {name: cell.plain for name, cell in item_facts(told, UNICODE)}
    assert words["energy"] == "7.2 kJ in all  ·  2 Wh"
    assert words["power"] == "mean 120 W, peak 150 W  measured for 1m00s"
    assert "energy" not in dict(item_facts(ItemDetail(run=run.id, row=unknown), UNICODE))
