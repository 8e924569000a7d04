"""Several samples as one: means over true lengths, the least and the greatest value, nothing unknown made up."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.sensors.sample_means import merged
from nightdesk.model.sample import Cpu, CpuTier, Device, Sample, sensor_encoder

NS = 10**9


def sample(at: int, seconds: float, watts: float | None, ratio: float | None = 0.5, **more: Any) -> Sample:
    gpu = Device(
        id="g",
        kind="gpu",
        name="GPU",
        power_w=watts,
        active_ratio=ratio,
        memory_used_bytes=at * 1000,
        throttle=("power cap",) if watts and watts > 50 else (),
        unknown={} if watts is not None else {"power_w": "It did not answer."},
    )
    given: dict[str, Any] = {
        "at_ns": at * NS,
        "elapsed_ns": int(seconds * NS),
        "source": "t",
        "cpu": Cpu(ratio=ratio, tiers=(CpuTier(name="E", ratio=ratio, cores=4),)),
        "devices": (gpu,),
        **more,
    }
    return Sample(**given)


def test_means_are_weighted_by_the_true_length_of_each_sample() -> None:
    one = merged([sample(1, 1.0, 10.0, 0.2), sample(4, 3.0, 90.0, 1.0)])
    (gpu,) = one.devices
    assert (one.at_ns, one.elapsed_ns) == (4 * NS, 4 * NS)
    assert gpu.power_w == pytest.approx(70.0)
    assert one.cpu is not None and one.cpu.ratio == pytest.approx(0.8)
    assert one.cpu.tiers[0].ratio == pytest.approx(0.8)
    assert one.spread["devices.g.power_w"] == (10.0, 90.0) and one.spread["cpu.ratio"] == (0.2, 1.0)
    # The energy is the same, whether it is added up before or after.
    assert gpu.power_w and gpu.power_w * one.elapsed_ns == pytest.approx(10.0 * NS + 90.0 * 3 * NS)
    assert gpu.memory_used_bytes == 3250 and b"3250," in sensor_encoder.encode(one)


def test_what_some_samples_do_not_know_is_the_mean_of_the_others() -> None:
    (gpu,) = merged([sample(1, 1, 20.0), sample(2, 1, None), sample(3, 1, None)]).devices
    assert gpu.power_w == 20.0 and "power_w" not in gpu.unknown
    (gpu,) = merged([sample(1, 1, None), sample(2, 1, None)]).devices
    assert gpu.power_w is None and gpu.unknown == {"power_w": "It did not answer."}


def test_heat_within_the_time_is_not_forgotten() -> None:
    one = merged([sample(1, 1, 80.0, thermal="Heavy"), sample(2, 1, 5.0, thermal="Nominal")])
    assert one.thermal == "Heavy" and one.devices[0].throttle == ("power cap",)
    assert merged([sample(1, 1, 5.0), sample(2, 1, 5.0)]).thermal is None


def test_one_sample_stays_what_it_is_and_a_device_that_left_is_not_shown() -> None:
    alone = sample(1, 1, 5.0)
    assert merged([alone]) is alone
    assert merged([alone, sample(2, 1, 5.0, devices=())]).devices == ()
    assert merged([sample(1, 1, 5.0, cpu=None), sample(2, 1, 7.0)]).cpu is not None
    assert merged([sample(1, 0, 5.0), sample(2, 0, 7.0)]).devices[0].power_w == 6.0
