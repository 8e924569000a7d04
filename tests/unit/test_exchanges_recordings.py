"""Every recording gives the truth that its clients wrote down."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from nightdesk.model.exchange import Exchange
from tests.support.wire import RECORDINGS, exchanges, frames_of, recording, truth

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.pcap"))
DAMAGED = sorted(path.stem for path in (RECORDINGS / "damaged").glob("*.json"))
TOKENS = (
    ("prompt_eval_count", "prompt_tokens", "input_tokens"),
    ("eval_count", "completion_tokens", "output_tokens"),
)
SPANS = {"load_ns": "load", "prompt_ns": "prompt_eval", "generation_ns": "eval", "total_ns": "total"}


def paired(found: list[Exchange], expected: list[dict[str, Any]]) -> list[tuple[Exchange, dict[str, Any]]]:
    """By client address and order on the connection."""
    waiting = defaultdict(list)
    for exchange in found:
        waiting[exchange.client_addr].append(exchange)
    pairs = [(waiting[wanted["client_addr"]].pop(0), wanted) for wanted in expected]
    assert not any(waiting.values()), "exchanges that no client made"
    return pairs


def expect_truth(found: Exchange, wanted: dict[str, Any]) -> None:
    assert (found.method, found.path, found.status) == (wanted["method"], wanted["path"], wanted["status"])
    assert (found.streamed, found.stream_format) == (wanted["streamed"], wanted.get("stream_format"))
    assert found.request_bytes == wanted.get("request_body_bytes_sent", wanted.get("request_body_bytes", 0))
    if "request_body_sha256" in wanted and "request_body_bytes_sent" not in wanted:
        assert found.request_sha256 == wanted["request_body_sha256"]
    calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in found.tool_calls]
    assert calls == wanted.get("tool_calls", [])
    assert found.error == wanted["error"] if "error" in wanted else True
    assert found.done_reason == wanted.get("done_reason")
    assert found.done == wanted.get("done", found.done)
    if wanted.get("model"):
        assert found.model == wanted["model"]
    if wanted["client_aborted"]:
        assert (found.state, found.aborted_by) == ("aborted", "client")
        assert found.text.startswith(wanted.get("text") or "")
        assert found.response_bytes >= wanted["response_body_bytes"]
        return
    is_failure = wanted["status"] >= 400 or wanted.get("error") is not None
    assert found.state == ("failed" if is_failure else "complete")
    assert (found.text, found.thinking) == (wanted.get("text") or "", wanted.get("thinking") or "")
    assert found.fragments == wanted.get("fragments", 0)
    assert found.response_bytes == wanted["response_body_bytes"]
    assert found.response_sha256 == wanted["response_body_sha256"]
    expect_counts(found, wanted)


def expect_counts(found: Exchange, wanted: dict[str, Any]) -> None:
    counts = wanted.get("counts", {})
    for value, names in zip((found.prompt_tokens, found.reply_tokens), TOKENS, strict=True):
        assert value == next((counts[name] for name in names if name in counts), None)
    for field, name in SPANS.items():
        assert getattr(found, field) == counts.get(f"{name}_duration")
    shape = wanted.get("embeddings", {})
    assert (found.embeddings.count if found.embeddings else None) == shape.get("count")
    if found.embeddings and shape["dims"] and shape.get("encoding") != "base64":
        assert found.embeddings.dims == shape["dims"][0]


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_gives_what_its_clients_saw(name: str) -> None:
    pairs = paired(exchanges(frames_of(recording(f"{name}.pcap"))), truth(name)["exchanges"])
    for found, wanted in pairs:
        expect_truth(found, wanted)
        assert found.missing_bytes.request == found.missing_bytes.response == 0
        assert found.text_pieces is None
        assert abs(found.started_ns / 1e9 - wanted["t_request"]) < 1


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_servers_ports_can_be_guessed(name: str) -> None:
    frames = frames_of(recording(f"{name}.pcap"))
    assert exchanges(frames, ports=None) == exchanges(frames)


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_shows_where_it_is_and_nowhere_else(name: str) -> None:
    damage = truth(f"damaged/{name}")
    wanted = {
        exchange["id"]: exchange
        for exchange in truth(damage["source_truth"].removesuffix(".json"))["exchanges"]
    }
    found = exchanges(frames_of(recording(f"damaged/{damage['pcap']}")), ports=None)
    lost = {(packet["src_port"], packet["length"]) for packet in damage.get("deleted_packets", [])}
    for exchange, hurt in paired(found, damage["per_exchange"]):
        if hurt["request_intact"] and hurt["response_intact"]:
            expect_truth(exchange, wanted[hurt["id"]])
            continue
        assert exchange.state == "incomplete"
        assert exchange.missing_bytes.response == hurt["response_missing_bytes"]
        assert bool(exchange.missing_bytes.request) is not hurt["request_intact"]
        if hurt["response_intact"]:
            assert exchange.text == wanted[hurt["id"]]["text"]
            continue
        assert exchange.text_pieces is not None
        assert exchange.text_pieces[0] == hurt["text_before_first_gap"]
        assert "".join(exchange.text_pieces) == hurt["text_of_complete_chunks"]
        assert exchange.text.count("bytes missing⟩") == len(exchange.text_pieces) - 1
        assert exchange.done is hurt["done_object_present"]
        assert all((11434, stop - start) in lost for start, stop in hurt["response_missing_ranges"])
