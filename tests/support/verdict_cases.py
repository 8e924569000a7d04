"""Exchanges with the verdicts that they deserve, made by hand and by generators: the labelled set.

Each case names all kinds that must be found; everything else that is found is a false alarm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from nightdesk.core.verdicts import Known
from nightdesk.model.exchange import Embeddings, Exchange, Image, Message, MissingBytes, Prompt, ToolCall

S = 10**9
START = 1_763_766_000 * S


@dataclass(frozen=True)
class Case:
    """An exchange, what was known before it, and the kinds that must be found."""

    name: str
    exchange: Exchange
    expected: frozenset[str] = frozenset()
    teach: tuple[Exchange, ...] = ()
    contexts: dict[str, int] = field(default_factory=dict)

    def known(self) -> Known:
        """What was known before the exchange."""
        known = Known()
        for model, context in self.contexts.items():
            known.set_context(model, context, START)
        for earlier in self.teach:
            known.learn(earlier)
        return known


PLAIN = Exchange(
    id=1,
    state="complete",
    client_addr="127.0.0.1:50000",
    server_addr="127.0.0.1:11434",
    connection=1,
    position=1,
    method="POST",
    path="/api/chat",
    dialect="ollama",
    operation="chat",
    status=200,
    streamed=True,
    stream_format="ndjson",
    fragments=120,
    model="llama3.1:8b",
    text="The ferry leaves at nine, and the bridge opens an hour later.",
    thinking="",
    tool_calls=(),
    done=True,
    done_reason="stop",
    prompt_tokens=40,
    reply_tokens=119,
    load_ns=S // 100,
    prompt_ns=S // 5,
    generation_ns=3 * S,
    total_ns=4 * S,
    started_ns=START,
    first_byte_ns=START + S // 4,
    first_token_ns=START + S // 4,
    ended_ns=START + 4 * S,
    request_bytes=300,
    request_sha256="0" * 64,
    response_bytes=9000,
    response_sha256="1" * 64,
    missing_bytes=MissingBytes(request=0, response=0),
    verdicts=(),
    prompt=Prompt(messages=(Message(role="user", content="When does the ferry leave?"),)),
    fragment_gaps_ns=(S // 4, *[S // 40] * 119),
)


def made(**changes: Any) -> Exchange:
    """:data:`PLAIN` with changes."""
    return msgspec.structs.replace(PLAIN, **changes)


def asked(content: str = "Write about the harbour.", **changes: Any) -> Prompt:
    """A prompt of one user message."""
    return Prompt(messages=(Message(role="user", content=content),), **changes)


_WORDS = (
    "harbour", "night", "editor", "witness", "committee", "timetable", "bridge", "ferry", "archive", "hearing",
    "budget", "flood", "report", "tender", "union", "weather", "service", "engineer", "mayor", "council", "school",
    "board", "interview", "statement", "quote", "tower", "signal", "engine", "lantern", "market", "window", "letter",
    "garden", "stream", "compass", "sailor", "kettle", "orchard", "river", "mountain", "library", "machine", "packet",
    "socket", "browser", "answer", "question", "evidence", "result", "station", "morning", "evening", "winter",
    "summer", "railway", "museum", "theatre", "kitchen", "workshop",
)  # fmt: skip
_VERBS = (
    "confirmed",
    "questioned",
    "described",
    "postponed",
    "rejected",
    "published",
    "reviewed",
    "defended",
)
_HAN = (
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"
    "云腾致雨露结为霜金生丽水玉出昆冈剑号巨阙珠称夜光果珍李柰菜重芥姜海咸河淡鳞潜羽翔"
)


def prose(sentences: int, seed: int = 1) -> str:
    """English sentences that differ."""
    source = Random(seed)
    return " ".join(_sentence(source) for _ in range(sentences))


def _sentence(source: Random) -> str:
    words = [source.choice(_WORDS) for _ in range(source.randint(5, 12))]
    words.insert(2, source.choice(_VERBS))
    return f"The {' '.join(words)}."


def han(sentences: int, seed: int = 1) -> str:
    """Chinese-looking sentences that differ."""
    source = Random(seed)
    return "".join("".join(source.choices(_HAN, k=source.randint(8, 20))) + "。" for _ in range(sentences))


def sized(size: int, seed: int = 1) -> str:
    """English text of ``size`` bytes."""
    return prose(size // 60 + 2, seed)[:size]


def cut_by(limit: int, text: str, **changes: Any) -> Exchange:
    """A reply that num_predict ended."""
    prompt = changes.pop("prompt", None) or asked()
    prompt = msgspec.structs.replace(prompt, options={**prompt.options, "num_predict": limit})
    return made(text=text, done_reason="length", reply_tokens=limit, prompt=prompt, **changes)


V1: dict[str, Any] = {
    "path": "/v1/chat/completions",
    "dialect": "openai",
    "stream_format": "sse",
    "load_ns": None,
    "prompt_ns": None,
    "generation_ns": None,
    "total_ns": None,
}
UNFINISHED: dict[str, Any] = {
    "done": False,
    "done_reason": None,
    "prompt_tokens": None,
    "reply_tokens": None,
    "load_ns": None,
    "prompt_ns": None,
    "generation_ns": None,
    "total_ns": None,
}
WHOLE: dict[str, Any] = {"streamed": False, "stream_format": None, "fragments": 0, "fragment_gaps_ns": ()}


def case(name: str, exchange: Exchange, *expected: str, **more: Any) -> Case:
    """A case that must have exactly these kinds."""
    return Case(name, exchange, frozenset(expected), **more)


def long_prompt(size: int, count: int, num_ctx: int | None = None, **changes: Any) -> Exchange:
    """A prompt of so many bytes of which so many tokens were counted."""
    options = {"num_ctx": num_ctx} if num_ctx else {}
    return made(prompt=asked(sized(size), options=options), prompt_tokens=count, **changes)


def context_cases() -> Iterator[Case]:
    """Cut and full contexts, and what looks like them."""
    for context in (2048, 4096, 8192, 16384, 32768):
        half = context // 2 + 2
        size = context * 10
        yield case(f"prompt cut to half of {context}", long_prompt(size, half, context), "context_cut")
        yield case(
            f"older server: prompt cut to {context}", long_prompt(size, context, context), "context_cut"
        )
        yield case(
            f"half of {context} by chance, and the text fits", long_prompt(int(half * 4.3), half, context)
        )
        yield case(
            f"older server leaves a cached prefix out, {context}",
            long_prompt(int(context * 3.2), 44, context),
        )
    yield case(
        "no room for a reply", long_prompt(40_000, 4095, 4096, text="", done_reason="length", reply_tokens=1),
        "context_cut", "empty_reply",
    )  # fmt: skip
    turns = tuple(Message(role=("user", "assistant")[at % 2], content=sized(2000, at)) for at in range(30))
    chat = Prompt(messages=turns, options={"num_ctx": 8192})
    yield case("old messages were dropped", made(prompt=chat, prompt_tokens=7733), "context_cut")
    chat = Prompt(messages=turns, options={"num_ctx": 32768})
    yield case("a long chat that fits", made(prompt=chat, prompt_tokens=13_420))
    yield case("a long chat, mostly cached", made(prompt=chat, prompt_tokens=212))
    v1 = {**V1, "prompt": asked(sized(40_000), options={"num_ctx": 32768})}
    yield case("the OpenAI path ignores num_ctx", made(**{**v1, "prompt_tokens": 2050}), "context_cut")
    yield case(
        "OpenAI path, context known from the server", made(**{**v1, "prompt_tokens": 2050}), "context_cut",
        contexts={"llama3.1:8b": 4096},
    )  # fmt: skip
    yield case("OpenAI path, everything fitted", made(**{**v1, "prompt_tokens": 9411}))
    yield case("default context, nobody named it", long_prompt(60_000, 2050), "context_cut")
    yield case("default context, older server", long_prompt(60_000, 2048), "context_cut")
    yield case("a large context that nobody named", long_prompt(100_000, 22_345))
    yield case("1 MB of prompt", long_prompt(1_000_000, 2050, 4096), "context_cut")
    anthropic = {**V1, "path": "/v1/messages", "dialect": "anthropic", "done_reason": "end_turn"}
    yield case("Anthropic path, cut", long_prompt(60_000, 4096, **anthropic), "context_cut")
    chinese = asked(han(2200), options={"num_ctx": 8192})
    yield case("Chinese prompt, cut", made(prompt=chinese, prompt_tokens=4098), "context_cut")
    chinese = asked(han(400), options={"num_ctx": 8192})
    yield case("Chinese prompt that fits", made(prompt=chinese, prompt_tokens=4098))
    kept = asked(sized(50_000), options={"num_ctx": 4096, "num_keep": 24})
    yield case("cut with num_keep 24", made(prompt=kept, prompt_tokens=24 + (4096 - 24) // 2), "context_cut")
    code = "\n".join(" " * 24 + f"value_{at} = {at}" for at in range(1200))
    indented = asked(code, options={"num_ctx": 16384})
    yield case("deeply indented code", made(prompt=indented, prompt_tokens=9001))
    ruled = asked(f"{sized(1200)}\n{'-' * 60_000}\n", options={"num_ctx": 4096})
    yield case("a rule of 60,000 dashes", made(prompt=ruled, prompt_tokens=1270))
    yield case("dense English", long_prompt(36_000, 7150, 8192))
    yield case(
        "dense English with rules of dashes",
        made(
            prompt=asked("\n".join([sized(2800, 5), "=" * 80] * 12), options={"num_ctx": 8192}),
            prompt_tokens=7000,
        ),
    )
    image = Prompt(
        messages=(
            Message(role="user", content="What is this?", images=(Image(sha256="0" * 64, bytes=90_000),)),
        ),
        options={"num_ctx": 4096},
    )
    yield case("an image takes most of the context", made(prompt=image, prompt_tokens=2050))
    cloud = long_prompt(60_000, 14_200, 4096, model="gpt-oss:120b-cloud")
    yield case("a model in a cloud ignores num_ctx", cloud)
    yield case("more tokens than num_ctx: it was not in force", long_prompt(60_000, 14_200, 4096))
    yield case("the count is missing", long_prompt(60_000, 0, 4096, reply_tokens=None))
    yield from _learned_cases()
    yield from _full_cases()
    yield from _embed_cases()


def _learned_cases() -> Iterator[Case]:
    small = tuple(
        made(model="tiny", prompt=asked(sized(430 + 9 * at, at)), prompt_tokens=435 + 9 * at)
        for at in range(4)
    )
    bytewise = asked(sized(600), options={"num_ctx": 512})
    cut = made(model="tiny", prompt=bytewise, prompt_tokens=258)
    yield case("a tokenizer of single letters, learned", cut, "context_cut", teach=small)
    yield case("the same counts, nothing learned", cut)
    chinese = tuple(made(prompt=asked(han(60, at)), prompt_tokens=700 + at) for at in range(4))
    yield case("learned from Chinese, then English", long_prompt(22_000, 5200, 8192), teach=chinese)
    cached = tuple(made(prompt=asked(sized(3000, at)), prompt_tokens=30) for at in range(4))
    yield case("cached prefixes teach nothing", long_prompt(30_000, 6800, 8192), teach=cached)


def _full_cases() -> Iterator[Case]:
    yield case(
        "the reply outgrew the context", long_prompt(12_000, 3000, 4096, reply_tokens=1500), "context_cut"
    )
    full = long_prompt(14_000, 3500, 4096, reply_tokens=400)
    yield case("nearly full", full, "context_nearly_full")
    yield case(
        "nearly full, as the server says",
        made(prompt=asked(sized(14_000)), prompt_tokens=3500, reply_tokens=400),
        "context_nearly_full",
        contexts={"llama3.1:8b": 4096},
    )
    yield case("five sixths full", long_prompt(12_000, 3000, 4096, reply_tokens=440))
    late = made(
        prompt=asked(sized(14_000)), prompt_tokens=3500, reply_tokens=900, load_ns=5 * S, started_ns=START + S,
        first_token_ns=START + 7 * S, ended_ns=START + 12 * S,
    )  # fmt: skip
    yield case("loaded anew after the server was asked", late, contexts={"llama3.1:8b": 4096})


def _embed_cases() -> Iterator[Case]:
    embed: dict[str, Any] = {
        **WHOLE, **UNFINISHED, "path": "/api/embed", "operation": "embed", "model": "nomic-embed-text", "text": "",
        "first_token_ns": None,
    }  # fmt: skip

    def vectors(count: int, text: str, tokens: int) -> Exchange:
        return made(**{**embed, "embeddings": Embeddings(count=count, dims=768), "prompt": Prompt(prompt=text),
                       "prompt_tokens": tokens})  # fmt: skip

    yield case("an embedded text was cut", vectors(1, sized(6000), 512), "context_cut")
    yield case("an embedded text was cut at 2,048", vectors(1, sized(30_000), 2048), "context_cut")
    yield case("a short embedded text", vectors(1, sized(230), 49))
    yield case("512 tokens by chance", vectors(1, sized(2300), 512))
    yield case("a batch of embeddings", vectors(64, "\n".join(sized(190, at) for at in range(64)), 2048))
    yield case("a long embedding call", msgspec.structs.replace(
        vectors(512, sized(90_000), 20_011), ended_ns=START + 95 * S))  # fmt: skip


def ending_cases() -> Iterator[Case]:
    """Empty, cut, unfinished, only thought."""
    yield case("a plain reply", made())
    yield case("cut by num_predict", cut_by(60, prose(6)[:250]), "reply_cut")
    yield case("cut by num_predict, raw", cut_by(30, prose(4)[:100], path="/api/generate", operation="generate"),
               "reply_cut")  # fmt: skip
    v1 = made(**{**V1, "text": prose(9)[:333], "done_reason": "length", "reply_tokens": None, "prompt_tokens": None,
                 "prompt": asked(options={"max_tokens": 100})})  # fmt: skip
    yield case("cut by max_tokens, no counts", v1, "reply_cut")
    claude = made(**{**V1, "path": "/v1/messages", "dialect": "anthropic", "text": prose(9)[:333],
                     "done_reason": "max_tokens", "prompt": asked(options={"max_tokens": 100})})  # fmt: skip
    yield case("cut by max_tokens, Anthropic", claude, "reply_cut")
    end = made(text=prose(30), done_reason="length", reply_tokens=900)
    yield case("cut at the end of the context", end, "reply_cut")
    yield case("cut in the middle of a table", cut_by(800, table(60)), "reply_cut")
    yield case("cut in the middle of a list of objects, not asked for as JSON", cut_by(900, objects(60)[:-40]),
               "reply_cut")  # fmt: skip
    for limit, label in ((1, "Yes"), (3, " positive"), (8, "Category: sport and culture")):
        yield case(f"num_predict {limit} on purpose", cut_by(limit, label))
    yield case("a warm-up without text", cut_by(1, ""))
    empty = made(text="", done_reason="length", reply_tokens=1, prompt_tokens=3011)
    yield case("empty reply, reason length", empty, "empty_reply")
    yield case("empty reply with num_predict", cut_by(256, ""), "empty_reply")
    yield case("the model says nothing", made(text="\n", reply_tokens=1), "empty_reply")
    call = (ToolCall(name="search", arguments={"q": "ferry"}),)
    tools = asked(tools=({"type": "function", "function": {"name": "search"}},))
    yield case("only a tool call", made(text="", tool_calls=call, prompt=tools))
    yield case("a tool call after thinking", made(text="", thinking=prose(4), tool_calls=call, prompt=tools))
    yield case("long thinking, then an answer", made(thinking=prose(900, 7), reply_tokens=11_000))
    yield case("thinking in Chinese, then an answer", made(thinking=han(400), text=han(10)))
    cut = cut_by(512, "", thinking=prose(40, 3))
    yield case("num_predict spent on thinking", cut, "only_thinking")
    yield case("thought and said nothing", made(text="", thinking=prose(12)), "only_thinking")
    yield case("thinking in v1, spent", made(**{**V1, "text": "", "thinking": prose(30), "done_reason": "length",
               "prompt": asked(options={"max_completion_tokens": 200})}), "only_thinking")  # fmt: skip
    yield case(
        "the stream ends without its final object", made(**UNFINISHED, text=prose(5)[:180]), "unfinished"
    )
    yield case("the OpenAI stream ends without [DONE]", made(**{**V1, **UNFINISHED, "text": prose(5)[:180]}),
               "unfinished")  # fmt: skip
    lost = made(
        **UNFINISHED, text=prose(3), state="incomplete", missing_bytes=MissingBytes(request=0, response=900)
    )
    yield case("packets are missing", lost)
    yield case("the capture began in the middle", made(**UNFINISHED, text=prose(3), state="partial"))
    secret = made(
        text="", prompt=None, unknown={"text": "not recorded"}, done_reason="length", reply_tokens=60
    )
    yield case("content that is not recorded", secret)
    yield from _manage_cases()


def _manage_cases() -> Iterator[Case]:
    manage: dict[str, Any] = {
        **WHOLE, **UNFINISHED, "operation": "manage", "text": "", "prompt": None, "model": None, "first_token_ns": None,
    }  # fmt: skip
    for method, path in (("GET", "/api/tags"), ("GET", "/api/ps"), ("POST", "/api/show"), ("GET", "/api/version"),
                         ("DELETE", "/api/delete"), ("POST", "/api/copy"), ("GET", "/v1/models")):  # fmt: skip
        yield case(f"{method} {path}", made(**manage, method=method, path=path))
    pull = {**manage, "streamed": True, "stream_format": "ndjson", "fragments": 900, "model": "llama3.1:8b"}
    gaps = (S // 10, *[S // 5] * 400, 50 * S, *[S // 5] * 400)
    yield case("a pull with a slow layer", made(**{**pull, "path": "/api/pull", "fragment_gaps_ns": gaps,
               "statuses": ("pulling manifest",) * 400, "ended_ns": START + 900 * S}))  # fmt: skip
    for reason in ("load", "unload"):
        yield case(f"a model is {reason}ed", made(text="", done_reason=reason, prompt=Prompt(), load_ns=9 * S,
                   path="/api/generate", operation="generate", reply_tokens=None, prompt_tokens=None))  # fmt: skip
    blob = {**manage, "method": "HEAD", "path": "/api/blobs/sha256:00", "status": 404, "state": "failed"}
    yield case("asked whether a blob is there", made(**blob))


def table(rows: int) -> str:
    """A Markdown table."""
    head = "| station | departure | arrival | remark |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {_WORDS[at % 50]} | {at % 24:02}:15 | {at % 24:02}:55 | on time |" for at in range(rows)
    )


def objects(count: int, seed: int = 1) -> str:
    """A JSON list of similar objects."""
    source = Random(seed)
    rows = [
        {"id": at, "name": source.choice(_WORDS), "kind": "station", "open": True, "note": None}
        for at in range(count)
    ]
    return json.dumps(rows, indent=1)


def loop_cases() -> Iterator[Case]:
    """Loops, and what repeats by right."""
    start = prose(5)
    loops: dict[str, str] = {
        "one word": start + " again" * 60,
        "one sentence": start + " We will keep looking at the harbour." * 14,
        "two sentences in turn": start + " The ferry is late. The bridge is closed." * 12,
        "a paragraph": start + ("\n\n" + prose(7, 9)) * 6,
        "lines of a list": start + "\n- check the signal\n- check the tower" * 14,
        "a Chinese sentence": han(5) + "我们会继续关注港口的情况。" * 30,
        "emoji": start + "🚢" * 400,
        "an enumeration of one sentence": start
        + "".join(f"\n{at}. The committee will review the plan for the bridge." for at in range(1, 60)),
        "three sentences in any order": start
        + "".join(
            " "
            + Random(at).choice(
                ("I should look at the quote.", "Then I compare it again.", "But wait, is that so?")
            )
            for at in range(80)
        ),
        "a statement in code": "```python\ntotal = 0\n" + "    total = total + value\n" * 40,
        "identical objects": "[" + '{"name": "unknown", "role": "witness"}, ' * 30,
        "a Russian phrase": start + " и это очень важно для нас" * 20,
        "a German phrase": start + " und dann noch einmal von vorne" * 20,
        "numbers": start + " 3.14," * 1500,
        "half a sentence at the end": (start + " The mayor did not answer the question." * 15)[:-17],
    }
    for name, text in loops.items():
        yield case(f"loop, cut by num_predict: {name}", cut_by(1000, text), "loop")
    yield case("loop until the server's repeat guard", made(**UNFINISHED, text=start + " loop" * 31), "loop")
    yield case("loop of marks until the repeat guard", made(**UNFINISHED, text=start + " -" * 40), "loop")
    yield case(
        "repeat guard, not streamed", made(**{**UNFINISHED, **WHOLE, "text": start + " no" * 30}), "loop"
    )
    looped = made(**UNFINISHED, text=loops["one sentence"], state="aborted", aborted_by="client")
    yield case("loop until the client left", looped, "loop")
    yield case(
        "a loop in the thinking", cut_by(4000, "", thinking=loops["three sentences in any order"]), "loop"
    )
    yield case(
        "a loop that the model itself ended", made(text=start + " We look at the harbour again." * 90), "loop"
    )
    yield from _repeats_by_right(start)


def _repeats_by_right(start: str) -> Iterator[Case]:
    song = "\n".join([prose(4, at) + "\nAnd the night goes on and on, my friend." for at in range(14)])
    litany = "\n".join(f"Saint {name.title()}, pray for us." for name in _WORDS[:40])
    again = "I will not talk in class.\n" * 100
    rng = Random(4)
    dna = "".join(rng.choices("ACGT", k=4000))
    fine: dict[str, str] = {
        "a table of 200 rows": table(200),
        "200 similar objects": objects(200),
        "a table of equal rows": "| a | b |\n|---|---|\n" + "| n/a | n/a |\n" * 60,
        "zeros": "[" + ", ".join(["0"] * 900) + "]",
        "null values": "[" + ", ".join(["null"] * 300) + "]",
        "a matrix": "\n".join("[" + ", ".join(["0.0"] * 12) + "]," for _ in range(90)),
        "a hex dump": "\n".join(f"{at * 16:08x}  " + "00 " * 16 for at in range(200)),
        "a C array": "{\n" + "    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,\n" * 120 + "};",
        "a poem with a refrain": song,
        "a litany": litany,
        "a chant": start + "\n" + "Na na na na, hey! " * 12,
        "laughter": start + " ha" * 30,
        "rules": "\n".join([prose(3, 1), "-" * 120, prose(3, 2), "=" * 120]),
        "ASCII art": "\n".join(" " * (20 - at) + "*" * (2 * at + 1) for at in range(20)) + "\n" + "#" * 400,
        "closing braces": "function f() {\n" + "  if (a) {\n" * 30 + "  }\n" * 30 + "}",
        "an HTML table": "<table>\n" + ("<tr>" + "<td></td>" * 12 + "</tr>\n") * 40 + "</table>",
        "SQL": "\n".join(f"INSERT INTO t VALUES ({at}, NULL, NULL, NULL);" for at in range(150)),
        "a log": "\n".join(
            f"2025-11-21 23:{at // 60:02}:{at % 60:02} INFO worker ready" for at in range(180)
        ),
        "tests": "\n\n".join(
            f"def test_case_{at}() -> None:\n    assert add({at}, 1) == {at + 1}" for at in range(80)
        ),
        "YAML": "\n".join(f"- name: host{at}\n  port: 80\n  state: up" for at in range(120)),
        "a multiplication table": "\n".join(
            f"{a} × {b} = {a * b}" for a in range(1, 11) for b in range(1, 11)
        ),
        "base64": "QUJD" * 3 + "A" * 900 + "==",
        "DNA": dna,
        "a CSV of zeros": "a,b,c\n" + "0,0,0\n" * 300,
        "Chinese prose": han(300),
        "emoji in a list": "\n".join(
            f"{'✅' if at % 3 else '❌'} {_WORDS[at % 50]} {at}" for at in range(120)
        ),
        "a countdown": "\n".join(f"{at} bottles of beer on the wall" for at in range(99, 0, -1)),
        "checkboxes": "\n".join(f"- [ ] read chapter {at}" for at in range(1, 60)),
        "long prose": prose(2500),
        "dialogue": "\n".join(f"“Yes,” said {name}." for name in _WORDS),
        "a staircase of one word": "\n".join("la " * at for at in range(1, 16)),
        "music": "| C | C | G | G |\n" * 24,
    }
    for name, text in fine.items():
        yield case(f"repeats by right: {name}", made(text=text, reply_tokens=len(text) // 4))
    wanted = asked("Write the sentence 'I will not talk in class.' 100 times.")
    yield case("repeats because it was asked to", made(text=again, prompt=wanted))
    yield case("repeats because it was asked to, cut", cut_by(500, again, prompt=wanted), "reply_cut")
    for name in ("a table of 200 rows", "zeros", "a C array", "a log", "DNA", "200 similar objects"):
        yield case(f"repeats by right, cut: {name}", cut_by(900, fine[name][:-9]), "reply_cut")


def white_cases() -> Iterator[Case]:
    """White space that never ends, and white space in its place."""
    json_prompt = asked("Give it as JSON.", format="json")
    for name, tail in (("new lines", "\n" * 900), ("blanks", " " * 900), ("both", "\n   \t" * 300)):
        whole = cut_by(1000, '{"headline": "Ferry"}' + tail, prompt=json_prompt)
        yield case(f"{name} behind whole JSON", whole, "whitespace_loop")
        open_ = cut_by(1000, '{"headline": "Ferry",' + tail, prompt=json_prompt)
        yield case(f"{name} inside JSON", open_, "whitespace_loop", "bad_json")
    yield case("nothing but blanks", cut_by(1000, " " * 3000), "whitespace_loop")
    yield case("white space until the client left",
               made(**UNFINISHED, text='{"a":' + "\n" * 2000, state="aborted", aborted_by="client"),
               "whitespace_loop")  # fmt: skip
    wide = "\n".join("| " + "name".ljust(180) + " | " + "x".ljust(120) + " |" for _ in range(12))
    yield case("a very wide table", made(text=wide))
    yield case("three empty lines at the end", made(text=prose(4) + "\n\n\n"))
    yield case("deep indentation", made(text="\n".join(" " * (at % 80) + f"x{at}" for at in range(300))))


SCHEMA = {
    "type": "object",
    "properties": {
        "headline": {"type": "string"},
        "score": {"type": "number"},
        "quotes": {"type": "array", "items": {"$ref": "#/$defs/quote"}},
        "tone": {"enum": ["calm", "loud"]},
        "extra": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    },
    "required": ["headline", "quotes"],
    "$defs": {"quote": {"type": "object", "required": ["who"], "properties": {"who": {"type": "string"}}}},
}


def json_cases() -> Iterator[Case]:
    """JSON that was asked for."""
    good = '{"headline": "Ferry", "score": 1, "quotes": [{"who": "mayor"}], "tone": "calm", "extra": null}'
    plain, strict = asked("As JSON.", format="json"), asked("As JSON.", format=SCHEMA)
    fine = {
        "whole": good,
        "with a new line behind": good + "\n",
        "with blanks around": f"  {good} \n\n",
        "indented": json.dumps(json.loads(good), indent=4),
        "a long list": objects(200),
        "Chinese": json.dumps({"标题": han(3)}, ensure_ascii=False),
        "deep": "[" * 60 + "]" * 60,
    }
    for name, text in fine.items():
        yield case(f"JSON, {name}", made(text=text, prompt=plain))
    yield case("JSON that obeys its schema", made(text=good, prompt=strict))
    yield case("JSON that ends at the limit by chance", cut_by(40, good, prompt=plain))
    for name, text in (
        ("prose", "Here is the summary you wanted."), ("a comma too much", '{"a": 1,}'), ("single quotes", "{'a': 1}"),
        ("a code fence", f"```json\n{good}\n```"), ("two values", '{"a": 1} {"b": 2}'),
        ("talk before it", f"Sure: {good}"),
    ):  # fmt: skip
        yield case(f"no JSON: {name}", made(text=text, prompt=plain), "bad_json")
    yield case("JSON cut by num_predict", cut_by(20, good[:50], prompt=plain), "bad_json", "reply_cut")
    for name, text in (
        ("a key is missing", '{"headline": "Ferry"}'), ("a wrong type", '{"headline": 7, "quotes": []}'),
        ("a wrong type inside a list", '{"headline": "x", "quotes": [{"who": null}]}'),
        ("a key is missing behind a $ref", '{"headline": "x", "quotes": [{}]}'),
        ("a value that is not allowed", '{"headline": "x", "quotes": [], "tone": "shrill"}'),
        ("no form of anyOf fits", '{"headline": "x", "quotes": [], "extra": "many"}'), ("a list, not an object", "[]"),
    ):  # fmt: skip
        yield case(f"schema: {name}", made(text=text, prompt=strict), "bad_json")
    openai = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    yield case("OpenAI schema, kept", made(**{**V1, "text": good, "prompt": asked(format=openai)}))
    yield case(
        "OpenAI schema, broken", made(**{**V1, "text": "{}", "prompt": asked(format=openai)}), "bad_json"
    )
    mode = {"type": "json_object"}
    yield case(
        "OpenAI JSON mode, broken", made(**{**V1, "text": "no", "prompt": asked(format=mode)}), "bad_json"
    )
    yield case(
        "OpenAI, text was asked for", made(**{**V1, "text": "no", "prompt": asked(format={"type": "text"})})
    )
    responses = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    yield case("Responses API, kept", made(**{**V1, "path": "/v1/responses", "text": good,
               "done_reason": "completed", "prompt": asked(format=responses)}))  # fmt: skip
    call = (ToolCall(name="search", arguments="{}"),)
    yield case("JSON was asked for, a tool was called", made(text="", tool_calls=call, prompt=plain))
    lost = made(text=good[:40] + good[60:], prompt=plain, state="incomplete",
                missing_bytes=MissingBytes(request=0, response=20))  # fmt: skip
    yield case("JSON with missing packets", lost)
    yield case("JSON that the client left", made(**UNFINISHED, text=good[:40], prompt=plain, state="aborted",
               aborted_by="client"))  # fmt: skip
    odd = {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}, "b": True}, "required": "a"}
    yield case("a schema that is odd itself", made(text='{"a": 1, "b": 2}', prompt=asked(format=odd)))
    endless = {"$ref": "#"}
    yield case("a schema that refers to itself", made(text="[1]", prompt=asked(format=endless)))


def timing_cases() -> Iterator[Case]:
    """Slow starts, silence, loads."""

    def slow(first: float, **changes: Any) -> Exchange:
        first_ns = int(first * S)
        spans = {"first_token_ns": START + first_ns, "ended_ns": START + first_ns + 4 * S}
        return made(**{**spans, "fragment_gaps_ns": (first_ns, *[S // 40] * 119), **changes})

    yield case("slow: model load", slow(31, load_ns=30 * S), "slow_first_token")
    yield case("slow: prompt evaluation", slow(45, prompt_ns=44 * S), "slow_first_token")
    yield case("slow: queue", slow(60), "slow_first_token")
    yield case("slow: cause unknown", slow(60, **V1), "slow_first_token")
    yield case("15 s are no matter", slow(15, load_ns=14 * S))
    whole = made(
        **{**WHOLE, "first_token_ns": START + 120 * S, "ended_ns": START + 120 * S, "generation_ns": 118 * S}
    )
    yield case("a long reply in one piece", whole)
    queued = msgspec.structs.replace(whole, generation_ns=20 * S)
    yield case("a reply in one piece that waited", queued, "slow_first_token")
    unknown = made(**{**V1, **WHOLE, "first_token_ns": START + 90 * S, "ended_ns": START + 90 * S})
    yield case("in one piece, without durations", unknown)
    stall = made(fragment_gaps_ns=(S // 4, *[S // 40] * 60, 45 * S, *[S // 40] * 58), ended_ns=START + 50 * S)
    yield case("one stall", stall, "stalled")
    stalls = made(fragment_gaps_ns=(S // 4, *[S // 40, 31 * S] * 5), ended_ns=START + 160 * S)
    yield case("stalls again and again", stalls, "stalled")
    tools = asked(tools=({"type": "function"},))
    yield case("silence while a tool call is written", msgspec.structs.replace(stall, prompt=tools))
    left = made(**UNFINISHED, state="aborted", aborted_by="client", fragments=120, ended_ns=START + 80 * S)
    yield case("the client gave up on a silent stream", left, "stalled")
    many = made(fragment_gaps_ns=(S // 4, *[9 * S] * 40), ended_ns=START + 361 * S)
    yield case("slow but steady", many)
    yield from _reload_cases()


def _used(at: float, load: float = 0.01, **changes: Any) -> Exchange:
    """An exchange that begins ``at`` seconds after the start and takes four seconds and its load."""
    begin = START + int(at * S)
    first = begin + int((load + 0.3) * S)
    return made(**{"started_ns": begin, "first_token_ns": first, "ended_ns": first + 4 * S, "load_ns": int(load * S),
                   **changes})  # fmt: skip


def _reload_cases() -> Iterator[Case]:
    drop = asked(keep_alive=0)
    row = tuple(_used(20 * at, 5, prompt=drop) for at in range(3))
    yield case("keep_alive 0, loaded each time", _used(60, 5, prompt=drop), "model_reload", teach=row)
    sizes = tuple(
        _used(20 * at, 4, prompt=asked(options={"num_ctx": (4096, 8192)[at % 2]})) for at in range(4)
    )
    yield case("num_ctx changes to and fro", _used(80, 4, prompt=asked(options={"num_ctx": 4096})), "model_reload",
               teach=sizes)  # fmt: skip
    turn = tuple(_used(20 * at, 6, model=("a:8b", "b:32b")[at % 2]) for at in range(5))
    yield case("two models take turns", _used(100, 6, model="b:32b"), "model_reload", teach=turn)
    yield case("the first load", _used(0, 7))
    yield case("one load again", _used(20, 7), teach=(_used(0, 7),))
    rare = tuple(_used(900 * at, 7) for at in range(4))
    yield case("loaded again after a quarter of an hour", _used(3600, 7), teach=rare)
    together = tuple(_used(0.01 * at, 3) for at in range(8))
    yield case("sixteen at once wait for one load", _used(0.09, 3), teach=together)
    others = tuple(_used(20 * at, 6, model=f"model-{at}") for at in range(6))
    yield case("many models, each loaded once", _used(120, 6, model="model-6"), teach=others)


def trouble_cases() -> Iterator[Case]:
    """Errors, and clients that leave."""
    failed: dict[str, Any] = {**UNFINISHED, **WHOLE, "state": "failed", "text": "", "first_token_ns": None}
    for status, error in (
        (404, "model 'gemma3:4b' not found"), (400, "the input length exceeds the context length"),
        (500, "llama runner process has terminated: exit status 2"), (503, "server busy, please try again."),
        (500, "model requires more system memory (42.1 GiB) than is available"), (403, None),
        (400, '{"error":{"code":400,"message":"request (6075 tokens) exceeds the available context size"}}'),
        (429, {"message": "slow down", "type": "rate_limit"}), (502, None),
    ):  # fmt: skip
        yield case(f"status {status}: {error}", made(**failed, status=status, error=error), "server_error")
    dead = made(
        **UNFINISHED, state="failed", text=prose(4), error="an error was encountered while running the model"
    )
    yield case("an error inside a 200 stream", dead, "error_in_stream")
    after = made(**UNFINISHED, state="aborted", aborted_by="client", text=prose(4), error="context canceled")
    yield case("an error after the client had left", after)
    yield case(
        "the user ends a reply", made(**UNFINISHED, state="aborted", aborted_by="client", text=prose(2))
    )
    waited = {**UNFINISHED, "state": "aborted", "aborted_by": "client", "text": "", "first_token_ns": None,
              "fragments": 0, "fragment_gaps_ns": (), "ended_ns": START + 60 * S}  # fmt: skip
    yield case("a client times out before the first token", made(**waited), "client_gone")
    silent = made(
        **{**waited, "streamed": False, "stream_format": None, "status": None, "first_byte_ns": None}
    )
    yield case("a client times out on a reply in one piece", silent, "client_gone")
    yield case("a client leaves a list of models", made(**{**waited, "operation": "manage", "path": "/api/tags",
               "method": "GET", "model": None, "prompt": None}))  # fmt: skip
    yield case(
        "a client leaves in the middle of its request", made(**{**waited, "model": None, "prompt": None})
    )
    yield case("the server closes in the middle", made(**UNFINISHED, state="aborted", aborted_by="server",
               text=prose(2)))  # fmt: skip
    half = made(**failed, status=499, error="request canceled")
    yield case("a client closes its half", half, "client_gone")


FAMILIES: tuple[Callable[[], Iterator[Case]], ...] = (
    context_cases, ending_cases, loop_cases, white_cases, json_cases, timing_cases, trouble_cases,
)  # fmt: skip


def all_cases() -> list[Case]:
    """Every generated case."""
    return [one for family in FAMILIES for one in family()]
