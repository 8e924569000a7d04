import asyncio
from collections.abc import AsyncIterator

from nightdesk.client.events import EventParser
from nightdesk.engine.bus import QUEUE_LIMIT, Bus
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import Change, DeskInfo, ExchangeCounts, LogGone, Snapshot


def snapshot(bus: Bus) -> Snapshot:
    desk = DeskInfo(
        name="night",
        folder="/",
        engine_version="0",
        api_version=1,
        engine=ProcessKey(pid=1, started_ns=1),
        host="h",
        platform="Linux",
    )
    counts = ExchangeCounts(running=0, done=0, failed=0, verdicts=0)
    return Snapshot(
        seq=bus.seq,
        at_ns=0,
        desk=desk,
        sources=(),
        servers=(),
        processes=(),
        exchanges=(),
        counts=counts,
        samples=(),
        jobs=(),
        runs=(),
        logs=(),
    )


async def read(events: AsyncIterator[bytes], parser: EventParser, count: int) -> list[Snapshot | Change]:
    got: list[Snapshot | Change] = []
    while len(got) < count:
        got += parser.feed(await asyncio.wait_for(anext(events), 5))
    return got


def test_a_subscriber_gets_a_snapshot_and_then_every_change_in_order() -> None:
    async def scenario() -> None:
        bus = Bus()
        events, parser = bus.events(lambda: snapshot(bus)), EventParser()
        first = await read(events, parser, 1)
        assert isinstance(first[0], Snapshot)
        for number in range(100):
            bus.publish(LogGone(id=str(number)))
        assert await read(events, parser, 100) == [LogGone(id=str(number)) for number in range(100)]

    asyncio.run(scenario())


def test_a_slow_subscriber_loses_changes_and_gets_a_new_snapshot_while_others_lose_nothing() -> None:
    async def scenario() -> None:
        bus = Bus()
        slow, quick = bus.events(lambda: snapshot(bus)), bus.events(lambda: snapshot(bus))
        slow_parser, quick_parser = EventParser(), EventParser()
        await read(slow, slow_parser, 1)
        await read(quick, quick_parser, 1)
        seen = []
        for number in range(QUEUE_LIMIT + 10):
            bus.publish(LogGone(id=str(number)))
            if number % 1000 == 0:
                seen += await read(quick, quick_parser, 1)
        seen += await read(quick, quick_parser, QUEUE_LIMIT + 10 - len(seen))
        assert [change.id for change in seen if isinstance(change, LogGone)] == [
            str(number) for number in range(QUEUE_LIMIT + 10)
        ]
        again = await read(slow, slow_parser, 1)
        assert isinstance(again[0], Snapshot) and again[0].seq == QUEUE_LIMIT + 10

    asyncio.run(scenario())


def test_events_survive_any_cut() -> None:
    async def collect() -> bytes:
        bus = Bus()
        events = bus.events(lambda: snapshot(bus))
        stream = await anext(events)
        for number in range(5):
            bus.publish(LogGone(id=f"n{number}"))
        return stream + await anext(events)

    stream = asyncio.run(collect())
    parser = EventParser()
    got = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert [type(event).__name__ for event in got] == ["Snapshot"] + ["LogGone"] * 5


def test_closing_the_bus_ends_the_streams() -> None:
    async def scenario() -> None:
        bus = Bus()
        events = bus.events(lambda: snapshot(bus))
        await anext(events)
        bus.close()
        rest = [event async for event in events]
        assert b"".join(rest) == b""

    asyncio.run(scenario())
