"""Whose process it is, with the evidence for orphans."""

from __future__ import annotations

import pytest

from nightdesk.core.processes.ownership import Desk, Facts, Kind, Owner, classify, owners

WORDS = ("ollama", "whisper", "enhanced_batch")


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (("/usr/local/bin/ollama", "serve"), "service"),
        (("/usr/local/bin/ollama", "runner", "--model", "/m", "--port", "4"), "runner"),
        (("ollama", "run", "llama3"), "watched"),
        (("/opt/llama.cpp/llama-server", "-m", "x.gguf"), "service"),
        (("/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"), "service"),
        (("/usr/bin/python3", "/home/u/.local/bin/vllm", "serve", "m"), "service"),
        (("VLLM::EngineCore",), "service"),
        (("python", "-m", "llama_cpp.server"), "service"),
        (("python", "scripts/enhanced_batch_processor.py"), "watched"),
        (("python", "-m", "whisper", "a.mp3"), "watched"),
        (("vim", "scripts/enhanced_batch_processor.py"), "other"),
        (("tail", "-f", "ollama.log"), "other"),
        (("/x/.venv/bin/python", "/x/.venv/bin/nightdesk", "capture", "ollama.pcap"), "nightdesk"),
        (("python", "-m", "nightdesk.engine.sensors.child"), "nightdesk"),
        (("python", "/home/u/nightdesk/scripts/whisper.py"), "watched"),
        (("bash",), "other"),
        ((), "other"),
    ],
)
def test_a_command_line_tells_what_kind_of_process_it_is(argv: tuple[str, ...], kind: Kind) -> None:
    assert classify("name", argv, WORDS) == kind


def facts(
    pid: int,
    ppid: int,
    kind: Kind = "other",
    marker: str | None = None,
    *,
    name: str = "p",
    group: int | None = None,
    session: int | None = None,
    earlier: int | None = None,
) -> Facts:
    return Facts(pid, ppid, group or pid, pid if session is None else session, name, kind, marker, earlier)


def judged(
    *table: Facts, active: dict[str, str] | None = None, known: bool = True, ignored: bool | None = False
) -> dict[int, Owner]:
    rows = (facts(1, 0, name="systemd"), *table)
    return owners({f.pid: f for f in rows}, Desk(active or {}, lambda run: known, lambda pid: ignored))


def test_children_of_a_run_belong_to_it_even_without_the_marker() -> None:
    found = judged(
        facts(10, 1, "keeper", "r1"), facts(11, 10, marker="r1"), facts(12, 11), active={"r1": "synth"}
    )
    assert [found[pid] for pid in (10, 11, 12)] == [Owner("run", "r1", "synth")] * 3


def test_a_model_server_that_an_active_run_started_is_part_of_the_run() -> None:
    assert judged(facts(11, 1, "service", "r1"), active={"r1": "synth"})[11].owner == "run"


def test_what_a_run_left_behind_is_an_orphan_with_its_children() -> None:
    found = judged(facts(11, 1, "service", "r1"), facts(12, 11))
    assert found[11] == Owner("orphan", "r1", None, "It was left behind by run r1, which ended.")
    assert found[12].owner == "orphan"


def test_a_run_of_another_desk_with_a_keeper_has_no_orphans() -> None:
    found = judged(facts(10, 1, "keeper"), facts(11, 10, marker="r9"), known=False)
    assert found[11].owner == "other"
    found = judged(facts(10, 1, "keeper", "r9"), facts(11, 1, marker="r9"), known=False)
    assert found[11].owner == "other"


def test_a_run_that_nobody_knows_and_nobody_keeps_has_orphans() -> None:
    reason = judged(facts(11, 1, marker="r9"), known=False)[11].orphan_reason
    assert reason == "It was left behind by run r9, whose keeper is gone."


def test_nightdesk_and_its_helpers_are_never_orphans() -> None:
    found = judged(
        facts(10, 1, "nightdesk", "old"), facts(11, 10, "other", "old"), facts(12, 10, "watched", "old")
    )
    assert {found[pid].owner for pid in (10, 11, 12)} == {"other"}


def test_what_a_keeper_below_the_engine_started_belongs_to_its_run() -> None:
    found = judged(
        facts(9, 1, "nightdesk"),
        facts(10, 9, "keeper"),
        facts(11, 10, marker="r1"),
        active={"r1": "transcribe"},
    )
    assert found[11].owner == "run"


def test_a_service_of_the_system_is_no_orphan_though_process_1_is_its_parent() -> None:
    found = judged(facts(10, 1, "service"), facts(11, 10, "runner"), facts(12, 1, "watched"))
    assert found[10].owner == found[11].owner == "service"
    assert found[12].owner == "watched"


def test_a_runner_whose_server_is_gone_is_an_orphan() -> None:
    found = judged(facts(11, 1, "runner", session=10, group=10))
    assert found[11].orphan_reason == "It loads models for a model server that is gone."


def test_what_another_desk_left_behind_is_no_orphan_of_ours() -> None:
    left = facts(20, 1, "watched", session=15)
    assert judged(left)[20].owner == "orphan"
    assert judged(left._replace(elsewhere=True))[20].owner == "watched"


def test_a_watched_process_whose_session_ended_is_an_orphan() -> None:
    found = judged(facts(20, 1, "watched", session=15))
    assert (
        found[20].orphan_reason == "The session that it was started in has ended; systemd (1) has adopted it."
    )


def test_a_worker_whose_program_was_killed_is_an_orphan() -> None:
    found = judged(facts(15, 1, name="bash"), facts(20, 1, "watched", session=15, group=18))
    assert (
        found[20].orphan_reason
        == "The program that started it, process 18, has ended; systemd (1) has adopted it."
    )


def test_a_parent_that_ended_under_our_eyes_is_named() -> None:
    found = judged(facts(15, 1, name="bash"), facts(20, 1, "watched", session=15, earlier=18))
    assert (
        found[20].orphan_reason == "Its parent, process 18, ended while it ran; systemd (1) has adopted it."
    )


@pytest.mark.parametrize("ignored", [True, None])
def test_what_was_started_with_nohup_is_no_orphan(ignored: bool | None) -> None:
    assert judged(facts(20, 1, "watched", session=15), ignored=ignored)[20].owner == "watched"


def test_a_watched_process_with_a_living_parent_is_no_orphan() -> None:
    assert judged(facts(15, 1, name="bash"), facts(20, 15, "watched", session=14))[20].owner == "watched"


def test_children_of_a_watched_process_are_watched_too() -> None:
    found = judged(facts(15, 1, name="bash"), facts(20, 15, "watched"), facts(21, 20), facts(16, 15))
    assert found[21].owner == "watched"
    assert found[16].owner == "other"


def test_a_table_with_a_loop_is_judged_all_the_same() -> None:
    assert set(judged(facts(5, 6), facts(6, 5))) == {1, 5, 6}
