"""Outputs that are looked at: by a process of its own, after each item, before one is passed over, by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightdesk.core.jobs.plans import Plan, plan_run
from nightdesk.engine.jobs.outputs import OutputJudge, check_rules, plan_to_look
from nightdesk.engine.store.history import History
from nightdesk.model.config import JobSection, OutputRules, Retry
from nightdesk.model.errors import UsageError
from nightdesk.model.job import StartRun
from nightdesk.model.outputs import OutputResult
from tests.engine.test_supervisor import job, nothing_left, play, python, working

__all__ = ["nothing_left"]

WRITE = (
    "import sys, pathlib; p = pathlib.Path(sys.argv[1]); text = p.read_text()\n"
    "tries = pathlib.Path(p.stem + '.tries'); tries.write_text((tries.read_text() if tries.exists() else '') + 'x')\n"
    "good = text != 'bad' and (text != 'later' or len(tries.read_text()) > 1)\n"
    "p.with_suffix('.md').write_text('# Summary\\n' if good else '# Nothing\\n')"
)


@pytest.fixture
def judge() -> Iterator[OutputJudge]:
    made = OutputJudge()
    yield made
    made.close()


def planned(folder: Path, **rules: object) -> Plan:
    """A run of the items that lie there."""
    section = JobSection(
        command="x {item}",
        items="*.txt",
        outputs="{stem}.md",
        validate=OutputRules(**rules),  # type: ignore[arg-type]  # - the test knows
    )
    items = tuple(sorted(path.name for path in folder.glob("*.txt")))
    return plan_run(section, StartRun(job="a"), str(folder), lambda: items)


def looked(judge: OutputJudge, plan: Plan, index: int = 0) -> OutputResult:
    return judge.judge(plan, index, None, lambda: False)


def test_a_pattern_that_never_ends_says_nothing_of_an_output_and_holds_up_no_other(
    tmp_path: Path, judge: OutputJudge
) -> None:
    for name, text in (("a", "a" * 40 + "!"), ("b", "aaa")):
        (tmp_path / f"{name}.txt").touch()
        (tmp_path / f"{name}.md").write_text(text)
    plan = planned(tmp_path, patterns=("^(a+)+$",), within="500ms")
    found = looked(judge, plan, 0)
    assert (found.state, found.score) == ("unknown", None)
    assert found.results[0].evidence == "the rules took longer than 500ms (within)"
    patient = planned(tmp_path, patterns=("^(a+)+$",))
    assert looked(judge, patient, 1).state == "passed", "the next one is looked at by a new process"
    worker = judge._worker
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert looked(judge, patient, 1).state == "passed"


def test_what_is_there_is_said_with_its_size_and_what_is_not_with_why(
    tmp_path: Path, judge: OutputJudge
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").touch()
    (tmp_path / "a.md").write_text("# One\n")
    (tmp_path / "b.md").touch()
    plan = planned(tmp_path, golden="{stem}.golden")
    found = [looked(judge, plan, index) for index in range(3)]
    assert [each.state for each in found] == ["unknown", "failed", "failed"]
    assert [each.results[0].evidence for each in found[1:]] == ["b.md is empty", "c.md is missing"]
    assert "a.golden can't be read: No such file" in found[0].results[1].evidence
    assert (found[0].output_bytes, found[0].path) == (6, str(tmp_path / "a.md"))


def test_a_schema_that_can_not_be_read_is_refused_before_anything_runs(
    tmp_path: Path, judge: OutputJudge
) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.md").write_text("x")
    plan = planned(tmp_path, schema="report.json")
    with pytest.raises(UsageError, match=r"report\.json, can't be read: No such file"):
        check_rules(plan)
    (tmp_path / "report.json").write_text("[1]")
    with pytest.raises(UsageError, match="can't be used: it holds no object"):
        check_rules(plan)
    (tmp_path / "report.json").write_text('{"type": "object", "required": ["text"]}')
    check_rules(plan)
    (tmp_path / "a.md").write_text('{"words": 1}')
    assert looked(judge, plan).results[1].evidence == "$: 'text' is a required property"
    with pytest.raises(UsageError, match="says nothing of what its outputs must be"):
        plan_to_look("b", JobSection(command="x"), tmp_path, tuple)


def test_a_reply_that_was_cut_on_the_wire_makes_the_output_truncated(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.md").write_text("All is well that ends well.\n")
    judge = OutputJudge(cut_replies=lambda run, item: f"cut: {run} {item}")
    found = judge.judge(planned(tmp_path, not_truncated=True), 0, tmp_path / "run-1", lambda: False)
    judge.close()
    assert found.state == "failed" and found.results[1].evidence == "cut: run-1 a.txt"


def test_an_item_whose_output_breaks_a_rule_is_tried_again_and_then_fails(tmp_path: Path) -> None:
    for name, text in (("a", "good"), ("b", "bad"), ("c", "later")):
        (tmp_path / f"{name}.txt").write_text(text)
    rules = OutputRules(headings=("Summary",))
    section = job(
        python(WRITE, "{item}"), items="*.txt", outputs="{stem}.md", validate=rules,
        retry=Retry(attempts=2, backoff="1ms"),
    )  # fmt: skip

    async def scene() -> None:
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert (run.items_done, run.items_failed) == (2, 1)
            (record,) = (each for each in world.supervisor.item_records(run.id) if each.state == "failed")
            assert record.item == "b.txt" and record.failure is not None
            assert (record.failure.kind, record.attempts) == ("invalid_output", 2)
            assert record.failure.evidence == "headings: it lacks the heading Summary"
            # On the next night what is valid is passed over, and what somebody spoilt is not.
            (tmp_path / "a.md").write_text("# Spoilt\n")
            (tmp_path / "b.txt").write_text("good")
            run = await world.ended(await world.start("a"))
            assert (run.state, run.items_done, run.items_skipped) == ("done", 3, 1)
            assert (tmp_path / "a.md").read_text() == "# Summary\n"

    play(scene())


def test_what_is_flagged_is_not_believed_and_done_again_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("good")
    section = job(
        python(WRITE, "{item}"), items="*.txt", outputs="{stem}.md", validate=OutputRules(min_bytes=1)
    )

    async def scene() -> None:
        flags: dict[str, int] = {}
        async with working(tmp_path, a=section) as world:
            world.supervisor._flags = lambda job: flags
            await world.ended(await world.start("a"))
            with pytest.raises(UsageError, match="Nothing is left to retry"):
                await world.supervisor.start(StartRun(job="a", retry=True))
            flags["b.txt"] = world.supervisor._now()
            run = await world.ended(await world.supervisor.start(StartRun(job="a", retry=True)))
            assert (run.items_total, run.items_skipped) == (1, 0)
            run = await world.ended(await world.start("a"))
            assert run.items_skipped == 2, "its new output is younger than the flag"
            assert (tmp_path / "b.tries").read_text() == "xx" and (tmp_path / "a.tries").read_text() == "x"

    play(scene())


def test_a_batch_and_a_single_run_fail_with_the_outputs_that_break_a_rule(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bad")
    (tmp_path / "out").mkdir()
    batch = job(
        python("open('out/1.md', 'w').write('# Summary'); open('out/2.md', 'w').write('x')"),
        validate=OutputRules(files="out/*.md", headings=("Summary",)),
    )
    section = job(
        python(WRITE, "{item}"),
        items="*.txt",
        outputs="{stem}.md",
        validate=OutputRules(headings=("Summary",)),
    )

    async def scene() -> None:
        async with working(tmp_path, a=batch, b=section) as world:
            run = await world.ended(await world.start("a"))
            assert run.state == "failed" and run.failure is not None
            assert run.failure.evidence == (
                "1 output is not accepted: out/2.md: headings: it lacks the heading Summary"
            )
            run = await world.ended(await world.start("b", mode="single", item="a.txt"))
            assert run.failure is not None and run.failure.kind == "invalid_output"

    play(scene())


def test_results_and_flags_are_kept_and_a_run_has_one_for_each_item(tmp_path: Path) -> None:
    def result(run: str | None, at_ns: int, item: str = "a") -> OutputResult:
        return OutputResult(job="j", item=item, run=run, at_ns=at_ns, state="passed", output="o")

    history = History(tmp_path / "desk.db", keep_ns=2**62, max_bytes=10**9)
    for run, at_ns in (("r1", 1), ("r1", 3), (None, 2), ("r2", 4)):
        history.save_result(result(run, at_ns))
    history.save_result(result("r2", 5, "b"))
    history.save_flag("j", "b", "too short", 6)
    history.save_flag("j", "a", "", 7)
    history.save_flag("j", "a", None, 8)
    assert [(each.run, each.at_ns) for each in history.results("j")] == [
        (None, 2),
        ("r1", 3),
        ("r2", 4),
        ("r2", 5),
    ]
    history.close()
    history = History(tmp_path / "desk.db", keep_ns=2**62, max_bytes=10**9)
    assert [(each.item, each.note) for each in history.results("j") if each.flagged] == [("b", "too short")]
    assert history.flags("j") == {"b": 6} and history.results("k") == []
    history.close()
