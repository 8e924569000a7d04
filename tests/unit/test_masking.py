"""Secrets are not kept."""

from __future__ import annotations

import pytest

from nightdesk.core.jobs.failures import end_failure
from nightdesk.core.masking import (
    MASK,
    is_secret,
    masked_arguments,
    masked_environment,
    masked_text,
    secrets_of,
)


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "token",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASSWORD",
        "PGPASS",
        "MY_CREDENTIALS",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "SSH_AUTH_SOCK", "OLLAMA_HOST", "PASSES", "LANG"])
def test_other_names_are_not_secret(name: str) -> None:
    assert not is_secret(name)


def test_an_environment_is_kept_without_its_secrets() -> None:
    given = {"B_TOKEN": "abc123456", "A": "x" * 50, "EMPTY_KEY": "", "URL": "https://me:word@host/x"}
    assert masked_environment(given, 10) == {
        "A": "x" * 10,
        "B_TOKEN": MASK,
        "EMPTY_KEY": "",
        "URL": f"https://{MASK}@host/x"[:10],
    }


def test_secrets_are_found_again_in_texts_and_commands() -> None:
    secrets = secrets_of({"A_KEY": "sk-12345678", "B_KEY": "abc"})
    assert secrets == ("sk-12345678",)
    assert masked_text("using sk-12345678 abc http://u:p@h", secrets) == f"using {MASK} abc http://{MASK}@h"
    given = ("run", "--api-key", "zz", "--token=yy", "sk-12345678", "--password", "--keep")
    assert masked_arguments(given, secrets) == (
        "run",
        "--api-key",
        MASK,
        f"--token={MASK}",
        MASK,
        "--password",
        "--keep",
    )


def test_keys_and_tokens_are_known_by_their_make_wherever_they_stand() -> None:
    for secret in ("sk-proj-1234567890abcdefghij", "hf_abcdefghijklmnopqrstuvwxyz", "AKIAABCDEFGHIJKLMNOP"):
        assert masked_text(f"refused: {secret}, sorry", ()) == f"refused: {MASK}, sorry"
    assert masked_text("Authorization: Bearer abc.def-1234567", ()) == f"Authorization: Bearer {MASK}"
    assert masked_text("basic authentication, a task-oriented key", ()) == (
        "basic authentication, a task-oriented key"
    )
    failure = end_failure(1, None, "ValueError: sk-proj-1234567890abcdefghij is no key")
    assert failure is not None and failure.evidence == f"ValueError: {MASK} is no key (exit status 1)"
