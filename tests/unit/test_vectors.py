"""Embeddings are counted without being read; whatever is written in another way is read as before."""

from __future__ import annotations

import json

import pytest

from nightdesk.core.capture.dialects.ollama import OllamaEmbedReader
from nightdesk.core.capture.dialects.openai import OpenAIEmbedReader
from nightdesk.core.capture.dialects.reply import Reply
from nightdesk.core.capture.dialects.vectors import split_list, split_objects

NUMBERS = [[0.5, -1e-9, 3, 0.25] * 100, [1.0] * 400, [2] * 400]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def listed(**more: object) -> dict[str, object]:
    return {"model": "nomic", "embeddings": NUMBERS, "prompt_eval_count": 7, **more}


def objects(vectors: list[object]) -> dict[str, object]:
    data = [{"object": "embedding", "embedding": one, "index": n} for n, one in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "nomic", "usage": {"prompt_tokens": 7}}


def read_ollama(document: bytes) -> Reply:
    reply = Reply(1000)
    OllamaEmbedReader(reply).read_document(document)
    return reply


def read_openai(document: bytes) -> Reply:
    reply = Reply(1000)
    OpenAIEmbedReader(reply).read_document(document)
    return reply


def shape(reply: Reply) -> tuple[int, int] | None:
    return (reply.embeddings.count, reply.embeddings.dims) if reply.embeddings else None


def test_vectors_in_a_list_are_counted_and_the_rest_is_read() -> None:
    reply = read_ollama(compact(listed()))
    assert split_list(compact(listed())) is not None
    assert (shape(reply), reply.model, reply.prompt_tokens) == ((3, 400), "nomic", 7)


def test_vectors_in_objects_are_counted_and_the_rest_is_read() -> None:
    document = compact(objects(list(NUMBERS)))
    reply = read_openai(document)
    assert split_objects(document) is not None
    assert (shape(reply), reply.model, reply.prompt_tokens) == ((3, 400), "nomic", 7)


def test_vectors_in_base64_are_counted() -> None:
    document = compact(objects(["AACAPwAAAEA=" + "AAAA" * 1000, "AACAPwAAAEA="]))
    assert split_objects(document) is not None
    assert shape(read_openai(document)) == (2, 752)


@pytest.mark.parametrize(
    "document",
    [
        json.dumps(listed()).encode(),
        compact(listed(model='"embeddings":[[1]]')),
        compact({"error": {"embeddings": NUMBERS}, "model": "nomic", "embeddings": [[1, 2]]}),
        compact({"embeddings": [[[1, 2]], *NUMBERS]}),
        compact({"embeddings": [["[1,2]", *"x" * 900]]}),
        compact({"embeddings": [{"values": NUMBERS}]}),
        compact(listed())[:-40],
        b'{"embeddings":[[' + b"1," * 2000,
        b'{"embeddings":[' + b"1," * 2000 + b"1]]}",
    ],
    ids=[
        "blanks",
        "in a name",
        "in an error",
        "deeper",
        "texts",
        "objects",
        "cut",
        "no end",
        "too many ends",
    ],
)
def test_other_lists_are_read_as_json_or_not_at_all(document: bytes) -> None:
    try:
        found = json.loads(document).get("embeddings")
    except ValueError:
        found = None
    reply = read_ollama(document)
    if found is None:
        assert reply.embeddings is None
    else:
        assert reply.embeddings is not None
        assert reply.embeddings.count == len(found)


@pytest.mark.parametrize(
    "document",
    [
        json.dumps(objects(list(NUMBERS))).encode(),
        compact(objects([*NUMBERS, {"embedding": [1]}])),
        compact(objects(list(NUMBERS)))[:-40],
        b'{"data":[{"embedding":[' + b"1," * 2000,
        b'{"data":[{"embedding":"' + b"A" * 4000 + b'\\""}]}',
    ],
    ids=["blanks", "deeper", "cut", "no end", "a quote in a text"],
)
def test_other_objects_are_read_as_json_or_not_at_all(document: bytes) -> None:
    try:
        found = json.loads(document)["data"]
    except ValueError:
        found = None
    reply = read_openai(document)
    assert (reply.embeddings and reply.embeddings.count) == (found and len(found))


def test_an_empty_vector_has_no_dimensions() -> None:
    document = compact({"embeddings": [[], *NUMBERS]})
    assert split_list(document) is not None
    assert shape(read_ollama(document)) == (4, 0)
