"""Exchanges that are too long, too deep, too many or broken: fields by name, the page that suffers, words it shows."""

from __future__ import annotations

from typing import Any

from nightdesk.model.exchange import Message, Prompt, ToolCall
from tests.support.exchanges import HOSTILE

DEEP = "[" * 10_000 + "1" + "]" * 10_000
OBJECTS = '{"a":' * 10_000 + "1" + "}" * 10_000
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a reply of 50 MB": ({"text": "line of words\n" * 3_700_000}, "3", "more characters are not shown here"),
    "one line of 10 MB": ({"text": "x" * 10_000_000}, "3", "more characters are not shown here"),
    "a prompt of 50 MB": (
        {"prompt": Prompt(prompt="word " * 10_000_000)},
        "2",
        "more characters are not shown",
    ),
    "bytes that are no text": (
        {"response_body": bytes(range(256)).decode("utf-8", "replace") * 20_000, "stream_format": None},
        "4",
        "more characters are not shown",
    ),
    "lists nested 10,000 deep": ({"request_body": DEEP}, "4", "10,000"),
    "objects nested 10,000 deep": ({"request_body": OBJECTS}, "4", "10,000"),
    "a fragment of 10 MB": ({"response_body": '{"a":"' + "b" * 10_000_000 + '"}'}, "4", "not shown here"),
    "a hundred thousand fragments": (
        {
            "response_body": "\n".join('{"n":1}' for _ in range(100_000)),
            "fragment_gaps_ns": (10**6,) * 100_000,
        },
        "4",
        "fragments 601 to 99,800 are not listed here",
    ),
    "a hundred thousand pauses": (
        {"fragment_gaps_ns": tuple(range(100_000))},
        "5",
        "pauses between fragments",
    ),
    "ten thousand tool calls": (
        {
            "tool_calls": tuple(
                ToolCall(name=f"call{n}", arguments={"n": n, "t": "x" * 50}) for n in range(10_000)
            )
        },
        "3",
        "not shown here",
    ),
    "ten thousand messages": (
        {"prompt": Prompt(messages=tuple(Message(role="user", content=HOSTILE) for _ in range(10_000)))},
        "2",
        "not shown here",
    ),
    "fences that never close": (
        {"prompt": Prompt(prompt="```a\n" * 20_001 + "<file>\n" * 20_000)},
        "2",
        " lines, ",
    ),
    "terminal escapes and markup": ({"text": HOSTILE * 100_000}, "3", "more characters are not shown"),
    "quotes and backslashes": ({"request_body": '{"a":' + '\\"' * 1_000_000}, "4", "not shown here"),
}
