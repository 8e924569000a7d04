"""Dialects: what no recording holds, and what no honest server sends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.capture.dialects.choice import choose
from nightdesk.core.capture.dialects.prompts import read_prompt
from nightdesk.core.capture.dialects.reply import Reply

PATHS = [
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/api/pull",
    None,
]


def read_events(path: str, events: list[dict[str, Any]]) -> Reply:
    reply = Reply(10_000)
    reader = choose(path)[2](reply)
    reader.read_events(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))
    reader.finish()
    return reply


def test_tool_calls_that_come_in_parts_are_joined() -> None:
    def part(index: int, **more: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **more}]}}]}

    reply = read_events(
        "/v1/chat/completions",
        [
            part(0, id="a", function={"name": "now", "arguments": ""}),
            part(0, function={"arguments": '{"zone":'}),
            part(1, id="b", function={"name": "then", "arguments": "{}"}),
            part(0, function={"arguments": '"UTC"}'}),
        ],
    )
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("a", "now", '{"zone":"UTC"}'),
        ("b", "then", "{}"),
    ]


def test_anthropic_tool_use_and_corrected_counts() -> None:
    reply = read_events(
        "/v1/messages",
        [
            {
                "type": "message_start",
                "message": {"model": "m", "usage": {"input_tokens": 70, "output_tokens": 0}},
            },
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "tool_use", "id": "t", "name": "now"},
            },
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "1}"}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use"},
                "usage": {"input_tokens": 539, "output_tokens": 9},
            },
            {"type": "message_stop"},
        ],
    )
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [("t", "now", '{"a":1}')]
    assert (reply.prompt_tokens, reply.reply_tokens, reply.done, reply.done_reason) == (
        539,
        9,
        True,
        "tool_use",
    )


def test_a_pull_gives_its_status_lines_and_its_error() -> None:
    reply = Reply(100)
    reader = choose("/api/pull")[2](reply)
    reader.read_lines(b'{"status":"pulling manifest"}\n{"status":"verifying"}\n{"error":"no space"}\n')
    assert (reply.statuses, reply.error) == (["pulling manifest", "verifying"], "no space")


def test_prompts_of_all_dialects_are_understood() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ]
    chat, model = read_prompt(
        "openai",
        "chat",
        json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode(),
    )
    assert chat is not None and model == "m"
    assert (chat.messages[0].content, chat.messages[0].images[0].bytes) == ("look", 3)
    body = {
        "system": [{"type": "text", "text": "be kind"}],
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }
    message, _ = read_prompt("anthropic", "chat", json.dumps(body).encode())
    assert message is not None and (message.system, message.options) == ("be kind", {"max_tokens": 5})
    ask = {"model": "m", "prompt": "p", "options": {"num_ctx": 512}, "format": "json", "keep_alive": 0}
    generate, _ = read_prompt("ollama", "generate", json.dumps(ask).encode())
    assert generate is not None
    assert (generate.prompt, generate.options, generate.format, generate.keep_alive) == (
        "p",
        {"num_ctx": 512},
        "json",
        0,
    )


WORDS = """message response content thinking tool_calls function name arguments error done choices delta usage type
    model embeddings embedding data index output item status text messages images input id image_url source options"""
KEYS = st.sampled_from(WORDS.split())
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["content_block_delta", "response.completed"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(PATHS), st.lists(JSON, max_size=4))
def test_strange_values_raise_nothing(path: str | None, values: list[Any]) -> None:
    dialect, operation, make = choose(path)
    reader = make(Reply(1000))
    raw = [json.dumps(value).encode() for value in values]
    reader.read_lines(b"\n".join(raw) + b"\n")
    reader.read_events(b"".join(b"data: " + line + b"\n\n" for line in raw))
    for line in raw:
        reader.read_document(line)
        read_prompt(dialect, operation, line)
    reader.finish()


def test_deep_nesting_and_broken_text_raise_nothing() -> None:
    for path in PATHS:
        reader = choose(path)[2](Reply(1000))
        reader.read_lines(b"[" * 100_000 + b"\n" + b'{"response":"\xff\xfe"}\n{"a":\n')
        reader.read_document(b'{"message":' * 50_000)
        reader.read_events(b"data: " + b"{" * 9_000 + b"\n\ndata: \xff\n\n:\n\n")


def test_probabilities_are_counted_in_every_dialect() -> None:
    entries = [{"token": "a", "logprob": -0.5, "top_logprobs": []}, {"token": "b", "logprob": -1.5}]
    ollama = Reply(100)
    reader = choose("/api/chat")[2](ollama)
    for line in ({"message": {"content": "x"}}, {"message": {"content": "ab"}, "logprobs": entries}):
        reader.read_lines(json.dumps({"model": "m", **line}).encode() + b"\n")
    chat = read_events(
        "/v1/chat/completions",
        [{"choices": [{"delta": {"content": "ab"}, "logprobs": {"content": entries}}]}],
    )
    text = read_events(
        "/v1/completions", [{"choices": [{"text": "ab", "logprobs": {"token_logprobs": [None, -0.5, -1.5]}}]}]
    )
    new = read_events(
        "/v1/responses", [{"type": "response.output_text.delta", "delta": "ab", "logprobs": entries}]
    )
    for reply in (ollama, chat, text, new):
        assert reply.text().endswith("ab") and reply.logprobs is not None
        assert (reply.logprobs.count, reply.logprobs.mean, reply.logprobs.lowest) == (2, -1.0, -1.5)


def test_a_pull_tells_how_far_it_is() -> None:
    reply = Reply(1000)
    reader = choose("/api/pull")[2](reply)
    reader.read_lines(b'{"status":"pulling manifest"}\n{"status":"pulling 6a","digest":"6a","total":200}\n')
    assert reply.transfer is not None and (reply.transfer.completed, reply.transfer.total) == (0, 200)
    reader.read_lines(b'{"status":"pulling 6a","total":200,"completed":150}\n{"status":"verifying"}\n')
    assert (reply.transfer.completed, reply.statuses[-1]) == (150, "verifying")


def test_the_reasoning_of_a_whole_answer_is_thinking() -> None:
    reply = Reply(1000)
    reader = choose("/v1/responses")[2](reply)
    output = [
        {
            "type": "reasoning",
            "summary": [{"text": "so"}],
            "content": [{"type": "reasoning_text", "text": "well, "}],
        },
        {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
    ]
    reader.read_document(json.dumps({"status": "completed", "output": output}).encode())
    assert ("".join(reply.thinking), reply.text(), reply.done) == ("well, so", "yes", True)
