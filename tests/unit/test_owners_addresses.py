"""How addresses are compared with what the systems' own tables print."""

from __future__ import annotations

import socket
import sys

import pytest

from nightdesk.engine.capture.holders import kernel_address, parse_lsof

LSOF = """p812
nlocalhost:1->localhost:2
n127.0.0.1:50112->127.0.0.1:11434
p977
n127.0.0.1:11434->127.0.0.1:50112
n[::1]:50113->[::1]:11434
"""


def test_lsof_names_the_process_at_the_clients_end() -> None:
    assert parse_lsof(LSOF, "127.0.0.1:50112", "127.0.0.1:11434") == 812
    assert parse_lsof(LSOF, "[::1]:50113", "[::1]:11434") == 977


def test_lsof_without_the_connection_names_nobody() -> None:
    assert parse_lsof(LSOF, "127.0.0.1:1", "127.0.0.1:11434") is None
    assert parse_lsof("", "127.0.0.1:1", "127.0.0.1:11434") is None


@pytest.mark.skipif(sys.byteorder != "little", reason="the expected text is that of a little-endian machine")
def test_addresses_look_as_the_kernel_prints_them() -> None:
    assert kernel_address("127.0.0.1:11434", socket.AF_INET) == "0100007F:2CAA"
    assert kernel_address("[::1]:80", socket.AF_INET6) == "00000000000000000000000001000000:0050"
    assert kernel_address("127.0.0.1:80", socket.AF_INET6) == "0000000000000000FFFF00000100007F:0050"
