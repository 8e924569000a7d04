"""Whether the room on the disk lasts for the logs of the runs."""

from __future__ import annotations

from nightdesk.core.jobs.room import Log, RoomWatch

S = 10**9
GB = 10**9


def test_a_job_whose_log_fills_the_disk_within_the_night_is_told_of_with_the_time_left() -> None:
    watch, found = RoomWatch(), None
    for step in range(5):
        logs = {
            "/a": Log("chatty", 3 * GB + step * GB // 36),  # 5 GB an hour
            "/b": Log("calm", 100 + step),
        }
        found = watch.look(step * 20 * S, 20 * GB, logs)
        assert (found is None) is (step < 3), "a rate is told after a minute"
    assert found is not None and found.label == "disk full in 4h00m"
    assert found.message.startswith(
        "Logs fill the disk in about 4h00m: that of chatty grows by 5.0 GB an hour"
    )
    assert "20.0 GB are free" in found.message and "Pause or stop it" in found.message
    assert watch.look(100 * S, 20 * GB, {"/b": Log("calm", 105)}) is None, "that run has ended"


def test_logs_that_fit_are_not_told_of_and_what_was_there_before_is_no_growth() -> None:
    watch = RoomWatch()
    for step in range(9):
        assert watch.look(step * 20 * S, 500 * GB, {"/a": Log("a", 5 * GB + step)}) is None
    assert watch.look(200 * S, 500 * GB, {"/a": Log("a", 10), "/b": Log("b", 2 * GB)}) is None


def test_a_log_of_tens_of_gigabytes_and_a_disk_that_is_nearly_full_are_told_of() -> None:
    large = RoomWatch().look(S, 500 * GB, {"/a": Log("chatty", 12 * GB), "/b": Log("b", GB)})
    assert large is not None and large.message.startswith("The log of chatty has 12.0 GB.")
    scarce = RoomWatch().look(S, 812_000_000, {})
    assert scarce is not None and scarce.label == "812 MB of disk left"
    assert "no attempt is started" in scarce.message
