"""However a stream of measurements is cut, its samples are the same, and nothing makes a reader fail or grow."""

from __future__ import annotations

import plistlib
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.sensors.amdgpu import rocm_sample
from nightdesk.core.sensors.macmon import MacmonReader
from nightdesk.core.sensors.nvidia_smi import smi_sample
from nightdesk.core.sensors.objects import MAX_OBJECT_BYTES
from nightdesk.core.sensors.powermetrics import MAX_DOCUMENT_BYTES, PowermetricsReader
from nightdesk.core.sensors.powermetrics_text import PowermetricsTextReader
from nightdesk.model.sample import Sample, sensor_encoder


def document(idle: float, elapsed_ns: int = 1_000_000_000) -> bytes:
    cores = [{"cpu": 0, "idle_ratio": idle, "freq_hz": 1e9}]
    root = {
        "elapsed_ns": elapsed_ns,
        "processor": {"clusters": [{"name": "E-Cluster", "freq_hz": 1e9, "cpus": cores}], "cpu_power": 3.0},
        "gpu": {"idle_ratio": idle, "freq_hz": 338.0, "gpu_energy": 12},
        "thermal_pressure": "Nominal",
    }
    return plistlib.dumps(root) + b"\n"


idle_ratios = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=1, max_size=5)
between = st.sampled_from(
    [b"", b"\0", b"\0\n\0", b"Second underflow occured.\n", b"\xff\xfe<", b"</plis", b"powermetrics: "]
)
cuts = st.lists(st.integers(0, 10_000), max_size=12)


def pieces(data: bytes, where: list[int]) -> list[bytes]:
    marks = [0, *sorted(mark % (len(data) + 1) for mark in where), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def read(reader: Any, parts: list[bytes]) -> list[Sample]:
    samples = [sample for part in parts for sample in reader.feed(part, 5)]
    return [*samples, *reader.end(5)]


@settings(deadline=None)
@given(idle_ratios, st.lists(between, min_size=6, max_size=6), cuts)
def test_a_plist_stream_gives_the_same_samples_however_it_is_cut(
    ratios: list[float], garbage: list[bytes], where: list[int]
) -> None:
    data = b"".join(garbage[i] + document(ratio) for i, ratio in enumerate(ratios)) + garbage[-1]
    whole = read(PowermetricsReader(), [data])
    assert [round(1 - (one.devices[0].active_ratio or 0), 6) for one in whole] == ratios
    assert read(PowermetricsReader(), pieces(data, where)) == whole
    assert read(PowermetricsReader(), [data[i : i + 1] for i in range(len(data))]) == whole


@settings(deadline=None)
@given(idle_ratios, st.data())
def test_a_stream_that_begins_anywhere_loses_one_document_at_most(
    ratios: list[float], data: st.DataObject
) -> None:
    stream = b"\0".join(document(ratio) for ratio in ratios)
    start = data.draw(st.integers(0, len(document(ratios[0]))))
    whole = read(PowermetricsReader(), [stream])
    assert (
        read(PowermetricsReader(), [stream[start:]])[-len(ratios) + 1 :] == whole[-len(ratios) + 1 :]
        or len(ratios) == 1
    )


@settings(deadline=None)
@given(idle_ratios, st.data())
def test_a_damaged_document_costs_itself_at_most(ratios: list[float], data: st.DataObject) -> None:
    documents = [document(ratio) for ratio in ratios]
    victim = data.draw(st.integers(0, len(documents) - 1))
    at = data.draw(st.integers(0, len(documents[victim]) - 12))
    hurt = bytearray(documents[victim])
    hurt[at : at + 3] = data.draw(st.binary(min_size=3, max_size=3))
    others = [
        document_sample
        for i, one in enumerate(documents)
        if i != victim
        for document_sample in read(PowermetricsReader(), [one])
    ]
    samples = read(
        PowermetricsReader(), [b"\0".join([*documents[:victim], bytes(hurt), *documents[victim + 1 :]])]
    )
    assert [one for one in others if one not in samples] == []


# Named, because hypothesis would write each of these megabytes out as an example.
ENDLESS = {
    "begin": b"<plist>",
    "cut begin": b"<plist",
    "long": b"x" * 700_000,
    "nul": b"\0",
    "cut end": b"</plist",
    "nested": b"<dict>" * 9999,
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(sorted(ENDLESS)), max_size=30))
def test_a_document_that_never_ends_never_eats_memory(parts: list[str]) -> None:
    reader = PowermetricsReader()
    for part in parts:
        reader.feed(ENDLESS[part], 1)
        assert reader.buffered <= MAX_DOCUMENT_BYTES
    reader.feed(b"\0</plist>", 1)
    assert len(reader.feed(document(0.5), 1)) == 1


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "clusters",
                    "cpus",
                    "name",
                    "idle_ratio",
                    "down_ratio",
                    "freq_hz",
                    "cpu_power",
                    "gpu_energy",
                    "cpu",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)
roots = st.dictionaries(
    st.sampled_from(["elapsed_ns", "processor", "gpu", "thermal_pressure", "timestamp", "is_delta"]), values
)


@settings(deadline=None)
@given(roots)
def test_any_property_list_gives_a_sample_that_can_be_sent_or_none(root: dict[str, Any]) -> None:
    for sample in read(PowermetricsReader(), [plistlib.dumps(root)]):
        sensor_encoder.encode(sample)
        for device in sample.devices:
            assert device.active_ratio is None or 0 <= device.active_ratio <= 1


@settings(deadline=None)
@given(st.binary(max_size=400), cuts)
def test_no_bytes_make_a_reader_fail(data: bytes, where: list[int]) -> None:
    for make in (PowermetricsReader, PowermetricsTextReader, MacmonReader):
        samples = read(make(), pieces(b"<plist>" + data + b"</plist>\n" + data, where))
        assert all(sensor_encoder.encode(sample) for sample in samples)
    smi_sample(b"<nvidia_smi_log>" + data + b"</nvidia_smi_log>", 1)
    rocm_sample(data, 1)


TEXT = """Machine model: Mac00,0
OS version: 00A000

*** Sampled system activity (Fri Nov 10 12:37:08 2023 +0100) (1004.51ms elapsed) ***

**** Processor usage ****

E-Cluster Online: 100%
E-Cluster HW active frequency: 1483 MHz
E-Cluster idle residency:  51.16%
CPU 0 frequency: 1392 MHz
CPU 0 idle residency:  79.26%
CPU 0 down residency:    .74%

CPU Power: 947 mW
GPU Power: 153 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): 1100 mW

**** GPU usage ****

GPU HW active frequency: 709 MHz
GPU idle residency:  25.50%
GPU Power: 154 mW
"""


@settings(deadline=None)
@given(cuts, st.integers(1, 3))
def test_a_text_recording_gives_the_same_samples_however_it_is_cut(where: list[int], count: int) -> None:
    data = TEXT.encode() * count
    whole = read(PowermetricsTextReader(), [data])
    assert len(whole) == count
    assert read(PowermetricsTextReader(), pieces(data, where)) == whole


LINE = b'{"gpu_power":1.5,"cpu_power":2.0,"ane_power":0.0,"gpu_active_ratio":0.5,"memory":{"ram_total":8}}\n'


@settings(deadline=None)
@given(cuts, st.lists(st.sampled_from([b"", b"{}\n", b"error: no sensors\n", b"\xff\n"]), max_size=4))
def test_macmon_lines_give_the_same_samples_however_they_are_cut(
    where: list[int], garbage: list[bytes]
) -> None:
    data = b"".join(one + LINE for one in garbage) + LINE
    whole = read(MacmonReader(), [data])
    assert len(whole) == len(garbage) + 1
    assert read(MacmonReader(), pieces(data, where)) == whole


def test_a_macmon_object_that_never_ends_is_bounded_and_the_next_one_is_read() -> None:
    reader = MacmonReader()
    for piece in (b"x" * 1_000_000, b'{"memory": {"a": "' + b"x" * 1_000_000, *[b"y" * 1_000_000] * 5):
        reader.feed(piece)
        assert reader.buffered <= MAX_OBJECT_BYTES
    assert reader.oversized == 1
    assert len(reader.feed(b"\n" + LINE)) == 1
