"""Which requests belong together, what each added, and how a conversation is told from a list of single calls."""

from __future__ import annotations

from typing import Any

from nightdesk.core.inspection.conversations import CUT_CHARS, conversation, tie_of
from nightdesk.model.conversation import Conversation, Turn
from nightdesk.model.exchange import Exchange, Image, Message, MissingBytes, Prompt, ToolCall
from nightdesk.model.process import ProcessRef
from nightdesk.model.units import NS

T0 = 1_763_690_000 * NS
PYTHON = ProcessRef(pid=4101, started_ns=T0, name="python", command="python chat.py")


def said(role: str, content: str, **more: Any) -> Message:
    return Message(role=role, content=content, **more)


def user(content: str, **more: Any) -> Message:
    return said("user", content, **more)


def model(content: str, **more: Any) -> Message:
    return said("assistant", content, **more)


def chat(number: int, *messages: Message, reply: str = "", **more: Any) -> Exchange:
    """A chat that begins ``number`` minutes after T0 and takes 20 seconds."""
    prompt = more.pop("prompt", Prompt(messages=messages, options=more.pop("options", {})))
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "client_addr": "127.0.0.1:50000",
        "server_addr": "127.0.0.1:11434",
        "connection": 1,
        "position": number,
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "fragments": 1,
        "text": reply,
        "thinking": "",
        "tool_calls": (),
        "done": True,
        "started_ns": T0 + number * 60 * NS,
        "ended_ns": T0 + (number * 60 + 20) * NS,
        "request_bytes": 0,
        "request_sha256": "",
        "response_bytes": 0,
        "response_sha256": "",
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": PYTHON,
        "verdicts": (),
        "prompt": prompt,
        **more,
    }
    return Exchange(**given)


def of(*exchanges: Exchange) -> Conversation:
    return conversation(exchanges[-1].id, tie_of(exchanges[-1]), exchanges)


def contents(turn: Turn) -> list[str]:
    return [message.content for message in turn.new]


RULES = said("system", "Be brief.")
FIRST = (RULES, user("What is a tide?"))
SECOND = (*FIRST, model("The sea going up and down."), user("Why?"))
THIRD = (*SECOND, model("The moon pulls."), user("And the sun?"))


def test_a_chat_shows_only_what_each_turn_added() -> None:
    made = of(
        chat(1, *FIRST, reply="The sea going up and down.", prompt_tokens=20),
        chat(2, *SECOND, reply="The moon pulls.", prompt_tokens=40),
        chat(3, *THIRD, reply="A little, too.", prompt_tokens=55),
    )
    assert [contents(turn) for turn in made.turns] == [["What is a tide?"], ["Why?"], ["And the sun?"]]
    assert [turn.reply for turn in made.turns] == [
        "The sea going up and down.",
        "The moon pulls.",
        "A little, too.",
    ]
    assert [(turn.thread, turn.continues, turn.by) for turn in made.turns] == [
        (1, None, ""),
        (1, 1, "prefix"),
        (1, 2, "prefix"),
    ]
    assert [turn.repeated for turn in made.turns] == [0, 3, 5]
    assert [turn.system for turn in made.turns] == ["Be brief.", None, None]
    assert [turn.pause_ns for turn in made.turns] == [None, 40 * NS, 40 * NS]
    assert [turn.prompt_tokens for turn in made.turns] == [20, 40, 55]
    assert (made.tied_by, made.subject) == ("process", "python (4101)")


def test_two_conversations_of_one_client_that_alternate_are_told_apart() -> None:
    other = (user("Name a river."),)
    made = of(
        chat(1, *FIRST, reply="The sea going up and down."),
        chat(2, *other, reply="Elbe."),
        chat(3, *SECOND, reply="The moon pulls."),
        chat(4, *other, model("Elbe."), user("Another."), reply="Oder."),
    )
    assert [(turn.thread, turn.continues) for turn in made.turns] == [(1, None), (2, None), (1, 1), (2, 2)]


def test_the_same_messages_again_are_another_try() -> None:
    made = of(chat(1, *FIRST, reply="a"), chat(2, *FIRST, reply="b"), chat(3, *FIRST, reply="c"))
    assert [(turn.unchanged, turn.continues, turn.thread) for turn in made.turns] == [
        (False, None, 1),
        (True, 1, 1),
        (True, 2, 1),
    ]
    assert [contents(turn) for turn in made.turns] == [["What is a tide?"], [], []]


def test_a_request_that_ends_with_the_reply_is_no_other_try() -> None:
    made = of(chat(1, *FIRST, reply="The sea."), chat(2, *FIRST, model("The sea.")))
    turn = made.turns[1]
    assert (turn.continues, turn.repeated, turn.new, turn.unchanged) == (1, 3, (), False)


def test_a_client_that_drops_old_messages_is_followed_by_its_last_reply() -> None:
    made = of(
        chat(1, *SECOND, reply="The moon pulls."),
        chat(2, RULES, user("Why?"), model("The moon pulls."), user("And the sun?")),
    )
    turn = made.turns[1]
    assert (turn.continues, turn.by, turn.dropped) == (1, "reply", 2)
    assert contents(turn) == ["And the sun?"]


def test_a_system_prompt_that_changes_does_not_break_the_conversation_and_is_shown() -> None:
    late = (said("system", "Be brief. It is 03:12."), *SECOND[1:])
    made = of(chat(1, *FIRST, reply="The sea going up and down."), chat(2, *late))
    assert made.turns[1].thread == 1 and made.turns[1].system == "Be brief. It is 03:12."
    assert contents(made.turns[1]) == ["Why?"]


def test_equal_system_prompts_alone_tie_nothing() -> None:
    made = of(chat(1, RULES, user("One.")), chat(2, RULES, user("Two.")))
    assert [turn.thread for turn in made.turns] == [1, 2]


def test_a_reply_that_the_client_changed_is_shown_as_new() -> None:
    made = of(chat(1, *FIRST, reply="Long."), chat(2, *FIRST, model("Short."), user("Why?")))
    assert contents(made.turns[1]) == ["Short.", "Why?"]


def test_tool_calls_and_their_results_are_part_of_the_conversation() -> None:
    call = ToolCall(id="c1", name="tide_table", arguments={"port": "Husum"})
    tools = (
        {"type": "function", "function": {"name": "tide_table"}},
        {"name": "weather"},
        "odd",
        {"function": 3},
    )
    asked = (user("When is high water?"),)
    made = of(
        chat(1, prompt=Prompt(messages=asked, tools=tools), tool_calls=(call,)),
        chat(
            2,
            *asked,
            model("", tool_calls=(call,)),
            said("tool", "14:02", tool_name="tide_table"),
            reply="14:02.",
        ),
    )
    assert made.turns[0].tools == ("tide_table", "weather", "?", "?")
    assert made.turns[0].tool_calls == (call,)
    assert [(one.role, one.content) for one in made.turns[1].new] == [("tool", "14:02")]
    assert made.turns[1].continues == 1


def test_a_different_image_is_a_different_message() -> None:
    seen = Image(sha256="ab" * 32, bytes=10)
    made = of(chat(1, user("Look.", images=(seen,))), chat(2, user("Look.")))
    assert [turn.thread for turn in made.turns] == [1, 2]


def test_single_calls_are_a_plain_sequence_by_item() -> None:
    made = of(
        *(
            chat(
                n,
                prompt=Prompt(prompt=f"Summarise {n}", system="Editor."),
                operation="generate",
                item=f"item {n}",
                run="r",
            )
            for n in (1, 2, 3)
        )
    )
    assert [turn.item for turn in made.turns] == ["item 1", "item 2", "item 3"]
    assert [contents(turn) for turn in made.turns] == [["Summarise 1"], ["Summarise 2"], ["Summarise 3"]]
    assert [turn.thread for turn in made.turns] == [1, 2, 3]
    assert (made.tied_by, made.subject) == ("run", "r")


def test_overlapping_exchanges_have_a_negative_pause() -> None:
    made = of(chat(1, *FIRST, ended_ns=T0 + 100 * NS), chat(2, *FIRST, started_ns=T0 + 70 * NS))
    assert made.turns[1].pause_ns == -30 * NS


def test_the_context_is_known_only_where_it_is_a_number() -> None:
    made = of(
        *(chat(n, *FIRST, options={"num_ctx": value}) for n, value in enumerate((8192, "8192", True, -1), 1))
    )
    assert [turn.context for turn in made.turns] == [8192, None, None, None]


def test_long_texts_are_cut_and_counted_and_both_ends_stay() -> None:
    long = "begin " + "x" * 100_000 + " end"
    turn = of(chat(1, user(long), reply=long)).turns[0]
    assert turn.cut == 2 * (len(long) - CUT_CHARS)
    assert len(turn.reply) <= CUT_CHARS + 3
    assert turn.reply.startswith("begin ") and turn.reply.endswith(" end")


def test_long_histories_are_compared_whole_though_shown_cut() -> None:
    long = "x" * 50_000
    made = of(
        chat(1, user(long + "a"), reply="A."),
        chat(2, user(long + "b"), reply="B."),
        chat(3, user(long + "a"), model("A."), user("More.")),
    )
    assert [(turn.thread, turn.continues) for turn in made.turns] == [(1, None), (2, None), (1, 1)]


def test_what_was_not_recorded_is_an_empty_turn() -> None:
    made = of(chat(1, prompt=None), chat(2, prompt=None))
    assert [turn.new for turn in made.turns] == [(), ()]
    assert [turn.thread for turn in made.turns] == [1, 2]


def test_clients_are_tied_by_run_then_process_then_connection() -> None:
    again = ProcessRef(pid=4101, started_ns=T0 + NS, name="python", command="python chat.py")
    assert tie_of(chat(1, run="r-1")).key == ("run", "r-1")
    assert tie_of(chat(1)).key != tie_of(chat(1, process=again)).key
    assert tie_of(chat(1, process=None)).by == "connection"
    assert tie_of(chat(1, process=None, client_addr="")).by == "alone"
