import msgspec

from nightdesk.engine.alarms import Judge
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.config import VerdictsSection
from nightdesk.model.desk import Change, ExchangeChanged
from nightdesk.model.exchange import Exchange, ExchangeGrew, ExchangeSeen, Message, MissingBytes, Prompt
from nightdesk.model.job import Run
from nightdesk.model.logs import Progress

RUNNING = Exchange(
    id=1,
    state="running",
    client_addr="127.0.0.1:50000",
    server_addr="127.0.0.1:11434",
    connection=1,
    position=1,
    dialect="ollama",
    operation="chat",
    streamed=True,
    fragments=0,
    model="tiny",
    text="",
    thinking="",
    tool_calls=(),
    done=False,
    started_ns=10**18,
    request_bytes=10,
    request_sha256="0" * 64,
    response_bytes=0,
    response_sha256="1" * 64,
    missing_bytes=MissingBytes(request=0, response=0),
    verdicts=(),
    run="synthesize-1",
)
RUN = Run(
    id="synthesize-1",
    job="synthesize",
    mode="full",
    state="running",
    command="x",
    folder="/",
    created_ns=0,
    progress=Progress(done=8, total=52, item="interview_09.mp3", at_ns=0, source="counter"),
)


class Desk:
    def __init__(self, record: str = "full", run: Run = RUN) -> None:
        self.changes: list[Change] = []
        self.saved: list[Exchange] = []
        self.book = TrafficBook(
            self.changes.append,
            lambda exchange, _searchable: self.saved.append(exchange),
            41,
            {run.id: run}.get,
            lambda _job: record,
        )

    def rows(self) -> list[ExchangeChanged]:
        return [change for change in self.changes if isinstance(change, ExchangeChanged)]


def test_a_running_exchange_names_job_and_item_and_grows_while_it_streams() -> None:
    desk = Desk()
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.take(ExchangeGrew(id=1, at_ns=1, fragments=2, text="A golden ", first_token_ns=5))
    desk.book.take(ExchangeGrew(id=1, at_ns=2, fragments=3, text="river", first_token_ns=5))
    desk.book.flush()
    row = desk.rows()[-1].row
    assert (row.id, row.job, row.item) == (41, "synthesize", "interview_09.mp3")
    assert (row.tail, row.fragments, row.first_token_ns, row.state) == ("A golden river", 3, 5, "running")
    whole = desk.book.held(41)
    assert whole and whole.text == "A golden river"
    assert desk.book.counts.running == 1


def test_an_ended_exchange_is_saved_once_under_the_number_that_users_saw() -> None:
    desk = Desk()
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    ended = msgspec.structs.replace(RUNNING, state="complete", text="A golden river.", ended_ns=10**18 + 9)
    desk.book.take(ExchangeSeen(exchange=ended))
    assert [(e.id, e.text, e.job) for e in desk.saved] == [(41, "A golden river.", "synthesize")]
    assert desk.book.counts.done == 1 and desk.book.counts.running == 0
    assert desk.book.held(41) is None


def test_a_new_capture_process_that_counts_from_one_again_never_touches_older_exchanges() -> None:
    desk = Desk()
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.take(ExchangeGrew(id=1, at_ns=1, fragments=1, text="first"))
    desk.book.capture_ended("signal 9")
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.take(ExchangeGrew(id=1, at_ns=1, fragments=1, text="second"))
    assert [(e.id, e.state, e.text) for e in desk.saved] == [(41, "partial", "first")]
    assert "signal 9" in (desk.saved[0].note or "")
    second = desk.book.held(42)
    assert second and second.text == "second"


def test_a_job_that_wants_no_content_recorded_leaves_none() -> None:
    desk = Desk(record="metadata")
    ended = msgspec.structs.replace(
        RUNNING, state="complete", text="secret", request_body="secret", ended_ns=1
    )
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.take(ExchangeGrew(id=1, at_ns=1, fragments=1, text="secret"))
    desk.book.flush()
    desk.book.take(ExchangeSeen(exchange=ended))
    assert b"secret" not in msgspec.json.encode((desk.saved, desk.changes))
    silent = Desk(record="none")
    silent.book.take(ExchangeSeen(exchange=ended))
    assert silent.saved == []


def test_the_label_of_a_bar_is_not_taken_for_an_item() -> None:
    bar = Progress(done=3, total=10, item="Loading weights", at_ns=0, source="tqdm")
    desk = Desk(run=msgspec.structs.replace(RUN, progress=bar))
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    assert (desk.rows()[0].row.job, desk.rows()[0].row.item) == ("synthesize", None)


def test_an_exchange_that_must_not_be_recorded_can_be_looked_at_without_its_content() -> None:
    desk = Desk(record="none")
    ended = msgspec.structs.replace(RUNNING, state="complete", text="A golden river.", ended_ns=10**18 + 9)
    desk.book.take(ExchangeSeen(exchange=ended))
    held = desk.book.held(41)
    assert held and held.text == "" and held.model == "tiny" and "not recorded" in held.unknown["text"]
    assert desk.saved == []


def _loops(job_record: str) -> Desk:
    desk = Desk(record=job_record)
    asked = Prompt(messages=(Message(role="user", content="What about the harbour?"),))
    desk.book.take(
        ExchangeSeen(exchange=msgspec.structs.replace(RUNNING, method="POST", status=200, prompt=asked))
    )
    text = " The secret witness is the mayor of it." * 60
    desk.book.take(ExchangeGrew(id=1, at_ns=10**18 + 5, fragments=9, text=text, first_token_ns=10**18 + 1))
    desk.book.watch(10**18 + 10**9)
    return desk


def test_a_running_loop_is_shown_in_its_row_and_counted_once_when_it_ends() -> None:
    desk = _loops("full")
    assert desk.rows()[-1].row.verdicts == ("loop",)
    assert desk.rows()[-1].counts.verdicts == 0
    seen = len(desk.rows())
    desk.book.watch(10**18 + 2 * 10**9)
    assert len(desk.rows()) == seen, "what did not change is not told again"
    whole = desk.book.held(41)
    assert whole and "The secret witness" in whole.verdicts[0].evidence
    ended = msgspec.structs.replace(
        whole, id=1, state="aborted", aborted_by="client", ended_ns=10**18 + 3 * 10**9, verdicts=()
    )
    desk.book.take(ExchangeSeen(exchange=ended))
    assert [one.kind for one in desk.saved[0].verdicts] == ["loop"]
    assert desk.book.counts.verdicts == 1


def test_a_job_without_recorded_content_gets_its_alarms_without_a_word_of_it() -> None:
    desk = _loops("metadata")
    assert desk.rows()[-1].row.verdicts == ("loop",)
    whole = desk.book.held(41)
    assert whole and whole.verdicts and b"secret" not in msgspec.json.encode((whole, desk.changes))


def test_thresholds_of_a_new_configuration_hold_at_once() -> None:
    section = VerdictsSection()
    judge = Judge(lambda: section)
    assert judge.limits.slow_first_token_ns == 20 * 10**9
    section = VerdictsSection(slow_first_token="5s")
    assert judge.limits.slow_first_token_ns == 5 * 10**9


def test_a_new_engine_knows_what_was_usual_before_it_and_asks_only_once() -> None:
    asked = []
    second = 10**9

    def at(began_ns: int, first_ns: int) -> Exchange:
        return msgspec.structs.replace(
            RUNNING,
            state="complete",
            started_ns=began_ns,
            first_token_ns=began_ns + first_ns,
            ended_ns=began_ns + first_ns + second,
        )

    def past() -> list[Exchange]:
        asked.append(1)
        return [at(10**18 + number * 10 * second, 2 * second) for number in (2, 1, 0)]

    judge = Judge(past=past)
    assert asked == []
    for number in (10, 20):
        late = judge.ended(at(10**18 + number * 10 * second, 40 * second), quote=True)
        assert "usual for this model 2.0s" in late.verdicts[0].evidence
    assert asked == [1]


def says(item: str, at_ns: int) -> Progress:
    return Progress(done=9, total=52, item=item, at_ns=at_ns, source="counter")


def test_an_exchange_that_was_seen_before_the_line_of_its_item_was_read_goes_over_to_that_item() -> None:
    desk = Desk()
    began = RUNNING.started_ns
    desk.book.progressed("synthesize-1", says("interview_09.mp3", began - 10**10), None)
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    assert desk.rows()[-1].row.item == "interview_09.mp3"
    desk.book.progressed("synthesize-1", says("interview_10.mp3", began - 10**6), began - 10**9)
    assert desk.rows()[-1].row.item == "interview_10.mp3"
    desk.book.take(
        ExchangeSeen(exchange=msgspec.structs.replace(RUNNING, state="complete", ended_ns=began + 9))
    )
    assert desk.saved[0].item == "interview_10.mp3"


def test_dots_printed_while_the_reply_streams_leave_it_with_the_item_that_was_just_announced() -> None:
    desk = Desk()
    began = RUNNING.started_ns
    desk.book.progressed("synthesize-1", says("interview_09.mp3", began - 10**10), None)
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.progressed("synthesize-1", says("interview_10.mp3", began + 10**8), began - 10**9)
    assert desk.rows()[-1].row.item == "interview_10.mp3"


def test_an_exchange_of_the_item_before_stays_with_it_though_the_batch_goes_on_beside_it() -> None:
    desk = Desk()
    began = RUNNING.started_ns
    desk.book.progressed("synthesize-1", says("interview_09.mp3", began - 10), None)
    desk.book.take(ExchangeSeen(exchange=RUNNING))
    desk.book.progressed("synthesize-1", says("interview_10.mp3", began + 10**9), began + 10**8)
    assert desk.rows()[-1].row.item == "interview_09.mp3"


def test_an_exchange_that_is_told_late_belongs_to_the_item_of_the_moment_in_which_it_began() -> None:
    desk = Desk()
    began = RUNNING.started_ns
    desk.book.progressed("synthesize-1", says("interview_09.mp3", began - 10), None)
    desk.book.progressed("synthesize-1", says("interview_10.mp3", began + 10), began)
    ended = msgspec.structs.replace(RUNNING, state="complete", ended_ns=began + 5)
    desk.book.take(ExchangeSeen(exchange=ended))
    assert desk.saved[0].item == "interview_09.mp3"


def test_what_the_process_itself_names_is_never_changed_by_what_the_run_prints() -> None:
    desk = Desk()
    own = msgspec.structs.replace(RUNNING, item="mine.mp3")
    desk.book.take(ExchangeSeen(exchange=own))
    desk.book.progressed("synthesize-1", says("interview_10.mp3", RUNNING.started_ns - 1), None)
    assert desk.rows()[-1].row.item == "mine.mp3"


def test_an_exchange_that_was_over_before_the_line_of_its_item_was_read_is_recorded_again_with_that_item() -> (
    None
):
    desk = Desk()
    began = RUNNING.started_ns
    desk.book.progressed("synthesize-1", says("interview_09.mp3", began - 10**10), None)
    for number, start in ((1, began - 10**9), (2, began)):
        short = msgspec.structs.replace(
            RUNNING, id=number, state="complete", started_ns=start, ended_ns=start + 9
        )
        desk.book.take(ExchangeSeen(exchange=short))
    desk.book.progressed("synthesize-1", says("interview_10.mp3", began - 10), began - 10**8)
    assert [(e.id, e.item) for e in desk.saved] == [
        (41, "interview_09.mp3"),
        (42, "interview_09.mp3"),
        (42, "interview_10.mp3"),
    ]
    assert {row.id: row.item for row in desk.book.rows()} == {41: "interview_09.mp3", 42: "interview_10.mp3"}
    assert desk.book.counts.done == 2
