"""The sentence of an error, as lists show it, whatever a server wraps it in."""

from __future__ import annotations

import pytest

from nightdesk.model.base import Json
from nightdesk.model.exchange import error_text, row_of
from tests.support.exchanges import exchange


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("model 'm' not found", "model 'm' not found"),
        ({"message": "model 'm' not found", "type": "not_found_error"}, "model 'm' not found"),
        ({"error": {"message": "too long"}}, "too long"),
        ('{"error":{"code":400,"message":"no images here"}}', "no images here"),
        ('{"broken', '{"broken'),
        ({"code": 7}, "{'code': 7}"),
        (["odd"], "['odd']"),
    ],
)
def test_the_sentence_of_an_error_is_found_whatever_it_is_wrapped_in(error: Json, sentence: str) -> None:
    assert error_text(error) == sentence
    assert row_of(exchange(state="failed", error=error)).error == sentence
