"""What the rules of a job say of its outputs: asks the process that looks at them, the job's own check, the traffic.

A result is handed on where it is made. Nothing here decides what follows from it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from nightdesk.core.jobs.items import output_path
from nightdesk.core.jobs.plans import Plan, plan_run
from nightdesk.core.outputs.judging import result_of, summed, why_refused
from nightdesk.engine.jobs.items import check_output, find_items
from nightdesk.engine.jobs.output_worker import Answer, Request
from nightdesk.model.config import JobSection, OutputRules, span_ns
from nightdesk.model.errors import UsageError
from nightdesk.model.job import StartRun
from nightdesk.model.outputs import OutputResult, RuleResult
from nightdesk.model.units import format_duration

TOLD = 3
"""Of the outputs of a batch that are not accepted: so many are named."""
_decoder = msgspec.json.Decoder(Answer)


def _keep_nothing(result: OutputResult) -> None:
    """For whoever needs the answer only."""


def _no_traffic(run_id: str, item: str) -> str | None:
    """For whoever knows nothing of exchanges."""
    return None


class OutputJudge:
    """Looks at outputs, one at a time. All methods block, and may be called by any thread."""

    def __init__(
        self,
        keep: Callable[[OutputResult], None] = _keep_nothing,
        cut_replies: Callable[[str, str], str | None] = _no_traffic,
    ) -> None:
        """``keep`` is given each result; ``cut_replies`` is given a run and an item, and says which reply of a model
        to it was cut, None where none was.
        """
        self._keep = keep
        self._cut_replies = cut_replies
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def refuses(self, plan: Plan, index: int, run_dir: Path, unwanted: Callable[[], bool]) -> str | None:
        """Why the output of an item is not accepted by the job's rules and its check; None where it is."""
        if plan.rules is None:
            return check_output(plan, index, run_dir, unwanted) if plan.check else None
        return why_refused(self.judge(plan, index, run_dir, unwanted).results)

    def refuses_batch(self, plan: Plan, run_dir: Path, unwanted: Callable[[], bool]) -> str | None:
        """Why the outputs of a run that goes through its items itself are not accepted; None where they are."""
        if plan.rules is None or plan.mode == "dry":
            return None
        try:
            plan = with_outputs(plan)
        except UsageError as fault:
            return str(fault)
        refused = []
        for index, item in enumerate(plan.items or ()):
            if unwanted():
                break
            if reason := why_refused(self.judge(plan, index, run_dir, unwanted).results):
                refused.append(f"{item}: {reason}")
        if not refused:
            return None
        more = f" and {len(refused) - TOLD} more" if len(refused) > TOLD else ""
        many = "outputs are" if len(refused) > 1 else "output is"
        return f"{len(refused)} {many} not accepted: {'; '.join(refused[:TOLD])}{more}"

    def judge(
        self, plan: Plan, index: int, run_dir: Path | None, unwanted: Callable[[], bool]
    ) -> OutputResult:
        """What all rules say of the output of one item. Without ``run_dir`` it is looked at by hand."""
        item = (plan.items or ())[index]
        rules = plan.rules or OutputRules()
        shown = output_path(plan.outputs, item) if plan.outputs is not None else item
        answer = (
            Answer(results=())
            if plan.outputs is None and not rules.files
            else self._look(plan, rules, shown, item)
        )
        results = list(self._with_traffic(answer.results, rules, item, run_dir))
        if plan.check and all(each.rule != "exists" or each.state == "passed" for each in results):
            results.append(_checked(plan, rules, index, run_dir, unwanted))
        state, score = summed(results)
        made = OutputResult(
            job=plan.job,
            item=item,
            run=run_dir.name if run_dir and plan.mode != "dry" else None,
            at_ns=time.time_ns(),
            state=state,
            score=score,
            output=shown,
            path=_place(plan, shown),
            output_bytes=answer.size,
            output_ns=answer.changed_ns,
            results=tuple(results),
        )
        self._keep(made)
        return made

    def _with_traffic(
        self, results: tuple[RuleResult, ...], rules: OutputRules, item: str, run_dir: Path | None
    ) -> Iterator[RuleResult]:
        """A reply that a limit cut is not whole, however its end looks."""
        for each in results:
            evidence = None
            if each.rule == "not_truncated" and each.state == "passed" and run_dir is not None:
                evidence = self._cut_replies(run_dir.name, item)
            yield result_of(rules, each.rule, "failed", evidence, 0.0) if evidence else each

    def _look(self, plan: Plan, rules: OutputRules, shown: str, item: str) -> Answer:
        request = Request(
            output=_place(plan, shown),
            shown=shown,
            rules=rules,
            folder=plan.folder,
            golden=output_path(rules.golden, item) if rules.golden is not None else None,
        )
        with self._lock:
            return self._asked(msgspec.json.encode(request) + b"\n", span_ns(rules.within))

    def _asked(self, line: bytes, limit_ns: int) -> Answer:
        for _ in range(2):  # one that has just ended for lack of work is started again
            worker = self._started()
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                worker.stdin.write(line)
                worker.stdin.flush()
            except BrokenPipeError:
                self._end()
                continue
            if not select.select([worker.stdout], [], [], limit_ns / 1e9)[0]:
                self._end()
                return _undecided(f"the rules took longer than {format_duration(limit_ns)} (within)")
            said = worker.stdout.readline()
            if said.endswith(b"\n"):
                return _decoder.decode(said)
            if status := self._end():
                return _undecided(f"the process that looked at it ended with {status}")
        return _undecided("the process that looks at outputs can't be kept running")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "nightdesk.engine.jobs.output_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._worker

    def _end(self) -> int:
        """Its exit status; one that does not end by itself is killed."""
        worker, self._worker = self._worker, None
        if worker is None:
            return 0
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            return worker.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            worker.kill()
            return worker.wait()

    def close(self) -> None:
        """End the process that looks."""
        with self._lock:
            self._end()


def _place(plan: Plan, shown: str) -> str:
    return str(Path(plan.folder) / os.path.expanduser(shown))  # noqa: PTH111 - a Path would lose nothing, a name like ~x does


def with_outputs(plan: Plan) -> Plan:
    """The plan with the items whose outputs its rules are for: its own, or what the job lists, or the files that the
    rules name. Blocks. Raises UsageError where they can't be listed.
    """
    folder = Path(plan.folder)
    if plan.items is not None:
        return plan
    if plan.mode == "single":
        known = plan.outputs is not None and plan.item is not None
        return replace(plan, items=(plan.item,) if known and plan.item else ())
    if plan.outputs is not None:
        return replace(plan, items=find_items(folder, plan.source, plan.env))
    return replace(plan, items=find_items(folder, plan.rules.files if plan.rules else None))


def plan_to_look(job: str, section: JobSection, folder: Path, items: Callable[[], tuple[str, ...]]) -> Plan:
    """A plan to look at all outputs of a job, as its configuration is now. Blocks. Raises UsageError where it says
    nothing of its outputs, or they can't be listed.
    """
    if section.validate is None and section.check is None:
        raise UsageError(
            f"{job} says nothing of what its outputs must be.",
            f"Add [jobs.{job}.validate], or check, to the job.",
        )
    plan = with_outputs(plan_run(section, StartRun(job=job), str(folder), items))
    check_rules(plan)
    return plan


def check_rules(plan: Plan) -> None:
    """Raises UsageError where a rule can't be applied to any output: better now than in the morning. Blocks."""
    if plan.rules is None or plan.rules.schema is None:
        return
    path = Path(plan.folder) / plan.rules.schema
    try:
        schema = msgspec.json.decode(path.expanduser().read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise UsageError(
            f"The schema of {plan.job}, {path}, can't be read: {reason}.",
            f"Check schema in [jobs.{plan.job}.validate].",
        ) from fault
    from nightdesk.core.outputs.schema import Schema, UnusableSchemaError

    try:
        Schema(schema)
    except UnusableSchemaError as fault:
        raise UsageError(
            f"The schema of {plan.job}, {path}, can't be used: {fault}.",
            f"Correct it, or check schema in [jobs.{plan.job}.validate].",
        ) from fault


def _checked(
    plan: Plan, rules: OutputRules, index: int, run_dir: Path | None, unwanted: Callable[[], bool]
) -> RuleResult:
    fault = check_output(plan, index, run_dir or Path(plan.folder), unwanted)
    if fault is None:
        return RuleResult(rule="check", state="passed", evidence="the check accepts it", score=1.0)
    return result_of(rules, "check", "failed", fault, 0.0)


def _undecided(words: str) -> Answer:
    return Answer(results=(RuleResult(rule="exists", state="unknown", evidence=words),))
