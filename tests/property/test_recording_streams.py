"""Every kind of recording: cut anywhere, with garbage between, without an end, begun in the middle, made of noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.sensors.amd_smi import MOST_CARDS as MOST_AMD_CARDS
from nightdesk.core.sensors.amd_smi import AmdSmiReader
from nightdesk.core.sensors.amdgpu import RocmReader
from nightdesk.core.sensors.amdgpu_top import AmdgpuTopReader
from nightdesk.core.sensors.macmon import MacmonReader
from nightdesk.core.sensors.mactop import MactopReader
from nightdesk.core.sensors.nvidia_smi import MOST_CARDS, NvidiaCsvReader, smi_sample
from nightdesk.core.sensors.objects import MAX_OBJECT_BYTES
from nightdesk.core.sensors.powermetrics import PowermetricsReader
from nightdesk.core.sensors.powermetrics_text import MAX_LINE_BYTES, MOST_CLUSTERS, PowermetricsTextReader
from nightdesk.core.sensors.recordings import MAX_REPORT_BYTES, Recording, ReportReader
from nightdesk.model.errors import NightdeskError
from nightdesk.model.sample import Sample, sensor_encoder
from tests.support.recordings import Chip, Cluster, amd_smi, amdgpu_top, macmon, mactop, plist, smi, text

CSV = b"index, name, utilization.gpu [%], power.draw [W]\n"
Made = Callable[[int], bytes]
"""A document whose values tell its number."""


def chip(number: int) -> Chip:
    share = number % 100 / 100
    return Chip((Cluster("E-Cluster", (share, 0.5)), Cluster("S-Cluster", (0.1,) * 3)), gpu_busy=share)


UNDERFLOW = b"Second underflow occured.\n"
KINDS: dict[str, tuple[Callable[[], Any], bytes, Made, Sequence[bytes]]] = {
    "plist": (
        PowermetricsReader,
        b"",
        lambda n: plist(chip(n), second=n),
        (b"", b"\0", b"\0\n", UNDERFLOW),
    ),
    "text": (
        PowermetricsTextReader,
        b"",
        lambda n: text(chip(n), second=n).encode(),
        (b"", b"\n", UNDERFLOW, b"\xff\x00\n"),
    ),
    "xml": (
        lambda: ReportReader(smi_sample, b"</nvidia_smi_log>"),
        b"",
        lambda n: smi([{"uuid": "a", "utilization/gpu_util": f"{n % 100} %"}] * 2, second=n),
        (b"", b"\0", b"WARNING: infoROM is corrupted\n", b"<nvidia_smi_log><gpu>"),
    ),
    "csv": (
        NvidiaCsvReader,
        CSV,
        lambda n: f"0, A, {n % 100} %, 20.0 W\n1, B, [N/A], 1\n".encode(),
        (b"", b"\n", b"\0\n", CSV),
    ),
    "rocm-smi": (
        RocmReader,
        b"",
        lambda n: json.dumps({"card0": {"GPU use (%)": str(n % 100)}}).encode() + b"\n",
        (b"", b"\n", b"WARNING: low power\n"),
    ),
    "macmon": (
        MacmonReader,
        b"",
        lambda n: json.dumps(macmon(n % 100 / 100, second=n)).encode() + b"\n",
        (b"", b"\n", b"error: no sensors\n"),
    ),
    "macmon for people": (
        MacmonReader,
        b"",
        lambda n: json.dumps(macmon(n % 100 / 100, second=n), indent=2).encode() + b"\n",
        (b"", b",", b"error: no sensors\n"),
    ),
    "mactop": (
        MactopReader,
        b"[",
        lambda n: json.dumps(mactop(n % 100 / 100, second=n), indent=2).encode(),
        (b"", b",", b",\n", b"]\n["),
    ),
    "amdgpu_top": (
        AmdgpuTopReader,
        b"",
        lambda n: json.dumps(amdgpu_top(n % 100 / 100)).encode() + b"\n",
        (b"", b"\n", b"WARNING: no such device\n"),
    ),
    "amd-smi": (
        AmdSmiReader,
        b"",
        lambda n: json.dumps([amd_smi(n % 100 / 100, card) for card in (0, 1)], indent=4).encode(),
        (b"", b"\n", b"WARNING: not in render group\n"),
    ),
    "amd-smi in a frame": (
        AmdSmiReader,
        b"",
        lambda n: json.dumps({"gpu_data": [amd_smi(n % 100 / 100)]}).encode() + b"\n",
        (b"", b"\n", b"WARNING: not in render group\n"),
    ),
}
WORDS = (
    b"null",
    b"-1",
    b"1e999",
    b"N/A",
    b"9" * 30,
    b"{}",
    b"[]",
    b"<dict>",
    b"</plist>",
    b"%",
    b"\n{",
    b"}",
)
CUTS = st.lists(st.integers(0, 100_000), max_size=10)


def pieces(data: bytes, where: list[int]) -> list[bytes]:
    marks = [0, *sorted(mark % (len(data) + 1) for mark in where), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def read(reader: Any, parts: Sequence[bytes]) -> list[Sample]:
    samples = [sample for part in parts for sample in reader.feed(part)]
    return [*samples, *reader.end()]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), where=CUTS)
def test_a_recording_gives_the_same_however_it_is_cut_and_whatever_stands_between(
    kind: str, data: st.DataObject, where: list[int]
) -> None:
    make, head, made, garbage = KINDS[kind]
    numbers = range(1, 1 + data.draw(st.integers(1, 4)))
    between = [data.draw(st.sampled_from(garbage)) for _ in numbers]
    stream = head + b"".join(rubbish + made(number) for rubbish, number in zip(between, numbers, strict=True))
    whole = read(make(), [stream])
    assert [_told(sample) for sample in whole] == [
        _told(one) for n in numbers for one in read(make(), [head + made(n)])
    ]
    assert len(whole) == len(numbers)
    assert read(make(), pieces(stream, where)) == whole
    assert read(make(), [stream[at : at + 1] for at in range(len(stream))]) == whole
    assert read(Recording(), pieces(stream, where)) == whole


def _told(sample: Sample) -> bytes:
    return sensor_encoder.encode((sample.devices, sample.cpu, sample.thermal))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(start=st.integers(0, 100_000))
def test_a_recording_that_begins_in_the_middle_loses_what_was_cut_and_nothing_else(
    kind: str, start: int
) -> None:
    make, head, made, _ = KINDS[kind]
    first = made(1)
    at = start % len(first)
    stream = head + first[at:] + made(2) + made(3)
    samples = read(make(), [stream])
    wanted = [_told(one) for number in (2, 3) for one in read(make(), [head + made(number)])]
    assert [_told(sample) for sample in samples][-len(wanted) :] == wanted
    assert len(samples) <= 3


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(noise=st.binary(max_size=300) | st.sampled_from(WORDS), where=CUTS, over=st.integers(0, 60))
def test_noise_in_a_recording_makes_no_reader_fail(
    kind: str, noise: bytes, where: list[int], over: int
) -> None:
    make, head, made, _ = KINDS[kind]
    document = made(7)
    at = where[0] % len(document) if where else 0
    for sample in read(make(), pieces(head + document[:at] + noise + document[at + over :] + made(8), where)):
        sensor_encoder.encode(sample)
        shares = [ratio for device in sample.devices for ratio in (device.active_ratio, device.fan_ratio)]
        shares += [sample.cpu.ratio, *(tier.ratio for tier in sample.cpu.tiers)] if sample.cpu else []
        assert all(share is None or 0 <= share <= 1 for share in shares)
        assert all(each.power_w is not None or "power_w" in each.unknown for each in sample.devices)
    try:
        read(Recording(), pieces(noise, where))
    except NightdeskError:
        return


def test_a_text_that_never_ends_its_sample_is_bounded() -> None:
    reader = PowermetricsTextReader()
    reader.feed(text(chip(1)).encode())
    for number in range(2000):
        reader.feed(
            f"Q{number}-Cluster idle residency: 1.00%\nCPU {number % 9999} idle residency: 5%\n".encode()
        )
        reader.feed(f"**** Section {number} ****\n**** Processor usage ****\n".encode())
    (sample,) = reader.end()
    assert sample.cpu is not None and len(sample.cpu.tiers) <= MOST_CLUSTERS
    for _ in range(30):
        reader.feed(b"x" * 10_000)
        assert reader.buffered <= MAX_LINE_BYTES + 10_000
    assert reader.oversized >= 1


def test_a_report_that_never_ends_is_bounded_and_the_next_one_is_read() -> None:
    reader = ReportReader(smi_sample, b"</nvidia_smi_log>")
    block = b"<gpu><product_name>" + b"x" * 999_000
    for _ in range(MAX_REPORT_BYTES // len(block) + 2):
        assert reader.feed(block) == []
    assert reader.oversized == 1
    reader.feed(b"</nvidia_smi_log>")
    assert len(reader.feed(smi([{"uuid": "a"}]))) == 1


@pytest.mark.parametrize(
    "make",
    [RocmReader, MacmonReader, MactopReader, AmdgpuTopReader, AmdSmiReader],
    ids=lambda one: one.__name__,
)
def test_an_object_that_never_ends_is_bounded_in_every_reader_of_objects(make: Callable[[], Any]) -> None:
    objects = make()
    for _ in range(6):
        objects.feed(b'{"gpu": 0, "usage": {"a": "' + b"x" * 1_000_000)
        assert objects.buffered <= MAX_OBJECT_BYTES
    assert objects.oversized + objects.dropped >= 1


def test_cards_without_end_are_bounded() -> None:
    reader = AmdSmiReader()
    rows = b"".join(json.dumps({"gpu": n % 10_000, "usage": {}}).encode() for n in range(3 * MOST_AMD_CARDS))
    assert len(reader.feed(rows) + reader.end()) == 1
    assert reader.dropped == 2 * MOST_AMD_CARDS


def test_a_table_with_ever_new_cards_is_bounded() -> None:
    reader = NvidiaCsvReader()
    rows = b"".join(b"%d, A, 5, 20\n" % number for number in range(3 * MOST_CARDS))
    samples = [*reader.feed(CSV + rows), *reader.end()]
    assert [len(sample.devices) for sample in samples] == [MOST_CARDS] * 3
