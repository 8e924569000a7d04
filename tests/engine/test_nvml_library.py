"""The chain from the driver's library to the sample, through the real binding; the library is one in C of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="the driver's library has this name on Linux only"),
]
SOURCE = Path(__file__).parents[1] / "support" / "nvml.c"
MIB = 1024**2
Cards = Callable[..., dict[str, Any]]


@pytest.fixture
def driver(tmp_path: Path) -> Cards:
    """Compiles a driver and gives the sample that ``nightdesk sensors --source nvml`` prints with it."""

    def sample(*flags: str) -> dict[str, Any]:
        assert COMPILER is not None
        library = tmp_path / "libnvidia-ml.so.1"
        words = [COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", *flags, "-o", str(library), str(SOURCE)]
        subprocess.run(words, check=True, timeout=120)
        command = [
            sys.executable,
            "-m",
            "nightdesk.cli.main",
            "sensors",
            "--once",
            "--json",
            "--source",
            "nvml",
        ]
        answer = subprocess.run(
            command,
            env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
            capture_output=True,
            check=True,
            timeout=120,
        )
        found = json.loads(answer.stdout)
        assert isinstance(found, dict)
        return found

    return sample


def test_every_value_of_the_driver_arrives_in_base_units(driver: Cards) -> None:
    sample = driver()
    first, second = sample["devices"]
    assert sample["source"] == "nvml"
    assert (first["id"], second["id"], first["name"]) == ("GPU-0-0", "GPU-1-0", "NVIDIA Test 0")
    assert (first["active_ratio"], second["active_ratio"], first["memory_busy_ratio"]) == (0.87, 0.86, 0.4)
    # What the driver keeps for itself is not counted as used.
    assert (first["memory_used_bytes"], first["memory_total_bytes"]) == (7 * MIB, 80 * MIB)
    assert (first["power_w"], first["power_limit_w"], first["energy_j"]) == (310.5, 700, 5000)
    assert (first["freq_hz"], first["max_freq_hz"], first["temperature_c"]) == (1980e6, 2010e6, 61)
    assert (first["performance_state"], first["memory_errors"], first["throttle"]) == ("P2", 3, ["power cap"])
    assert (first["pcie_in_bytes_s"], first["pcie_out_bytes_s"]) == (5e6, 70e3)
    # Memory that the driver does not tell is absent, and so is a process's share without a measurement.
    assert first["processes"] == [
        {"pid": 10, "memory_bytes": 5 * MIB, "active_ratio": 0.63},
        {"pid": 11, "memory_bytes": 5 * MIB},
        {"pid": 12},
    ]
    assert first["unknown"] == {"fan_ratio": "This card does not report it."}


def test_a_driver_that_lacks_the_newer_calls_is_asked_in_the_older_way(driver: Cards) -> None:
    first = driver("-DOLD")["devices"][0]
    assert (first["active_ratio"], first["temperature_c"]) == (0.87, 55)
    assert (first["memory_used_bytes"], first["throttle"]) == (21 * MIB, ["software thermal slowdown"])
    assert [process["pid"] for process in first["processes"]] == [10, 11]
    assert set(first["unknown"]) == {"fan_ratio"}


def test_a_divided_card_has_its_slices_and_a_lost_one_leaves_the_other_alone(driver: Cards) -> None:
    first = driver("-DSCENE=DIVIDED")["devices"][0]
    assert [(part["id"], part["memory_total_bytes"]) for part in first["slices"]] == [
        ("MIG-0-1", 10 * MIB),
        ("MIG-0-2", 10 * MIB),
    ]
    assert [process["pid"] for process in first["slices"][0]["processes"]] == [110, 111, 11, 12]
    assert first["unknown"]["active_ratio"] == "This card does not report it."
    healthy, lost = driver("-DSCENE=FALLEN")["devices"]
    assert healthy["active_ratio"] == 0.87
    assert "fell off the bus" in lost["unknown"]["power_w"]
    assert "active_ratio" not in lost


def test_memory_of_the_machine_and_a_driver_that_was_updated_are_told_as_what_they_are(driver: Cards) -> None:
    card = driver("-DSCENE=UNIFIED")["devices"][0]
    assert card["shares_memory"] and "machine's memory" in card["unknown"]["memory_used_bytes"]
    none = driver("-DSCENE=UPDATED")
    assert none["devices"] == []
    assert "different versions" in none["unknown"]["devices"]
