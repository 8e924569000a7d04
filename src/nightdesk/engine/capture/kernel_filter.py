"""A packet filter for the Linux kernel: TCP of some ports, without the sender's second copy and without bare ACKs.

Written by hand in classic BPF, because compiling a filter needs libpcap, which a Linux machine need not have.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
from collections.abc import Iterable

MAX_PORTS = 40
"""A conditional jump reaches 255 instructions; beyond this many ports the assembler alone chooses."""

_SO_ATTACH_FILTER = 26
_LD_WORD_LEN = 0x80
_LD_HALF = 0x28
_LD_BYTE = 0x30
_LD_HALF_X = 0x48
_LD_BYTE_X = 0x50
_LDX_IP_HEADER = 0xB1
_LDX_IMMEDIATE = 0x01
_TAX = 0x07
_JUMP_EQUAL = 0x15
_JUMP_BITS = 0x45
_JUMP_EQUAL_X = 0x1D
_LD_WORD = 0x20
_AND = 0x54
_SHIFT_RIGHT = 0x74
_ADD_X = 0x0C
_ADD = 0x04
_SUBTRACT_X = 0x1C
_RETURN = 0x06

_PACKET_TYPE = 0xFFFFF004
"""SKF_AD_OFF + SKF_AD_PKTTYPE."""
_OUTGOING = 4
_ETHER = 14
_IPV6_HEADER = 40
_SYN_FIN_RST = 0x07
_SYN = 0x02
_ACK = 0x10
_ALL_BYTES = 0x00FFFFFF

Instruction = tuple[int, str | int, str | int, int]
"""Code, where to go if true and if false (a label, or a number of instructions), operand."""

# Payload = packet - Ethernet - IP header - TCP header. The IP length field can be 0 for huge segments.
_HAS_PAYLOAD: tuple[Instruction, ...] = (
    (_LD_BYTE_X, 0, 0, _ETHER + 12),
    (_AND, 0, 0, 0xF0),
    (_SHIFT_RIGHT, 0, 0, 2),
    (_ADD_X, 0, 0, 0),
    (_ADD, 0, 0, _ETHER),
    (_TAX, 0, 0, 0),
    (_LD_WORD_LEN, 0, 0, 0),
    (_SUBTRACT_X, 0, 0, 0),
    (_JUMP_EQUAL, "drop", "keep", 0),
)


def port_filter(ports: Iterable[int], *, ignore_outgoing: bool, only_opening: bool = False) -> bytes:
    """The filter for an Ethernet-like interface, as an array of ``sock_filter``.

    ``ignore_outgoing`` is for loopback, where each packet passes once as outgoing and once as incoming.
    ``only_opening`` lets nothing pass but the first packet of each connection to one of the ports.
    """
    wanted = sorted(set(ports))
    program: list[Instruction | str] = []
    if ignore_outgoing:
        program += [(_LD_BYTE, 0, 0, _PACKET_TYPE), (_JUMP_EQUAL, "drop", 0, _OUTGOING)]
    program += [
        (_LD_HALF, 0, 0, 12),
        (_JUMP_EQUAL, "ipv4", 0, 0x0800),
        (_JUMP_EQUAL, "ipv6", "drop", 0x86DD),
        "ipv4",
        (_LD_BYTE, 0, 0, _ETHER + 9),
        (_JUMP_EQUAL, 0, "drop", 6),
        (_LD_HALF, 0, 0, _ETHER + 6),
        (_JUMP_BITS, "drop", 0, 0x1FFF),
        (_LDX_IP_HEADER, 0, 0, _ETHER),
        *_tcp("v4", wanted, only_opening),
        "ipv6",
        (_LD_BYTE, 0, 0, _ETHER + 6),
        (_JUMP_EQUAL, 0, "drop", 6),
        (_LDX_IMMEDIATE, 0, 0, _IPV6_HEADER),
        *_tcp("v6", wanted, only_opening),
        "keep",
        (_RETURN, 0, 0, _ALL_BYTES),
        "drop",
        (_RETURN, 0, 0, 0),
    ]
    return _assemble(program)


def birth_filter() -> bytes:
    """The filter for the process connector: new processes and new programs, not threads, endings and the rest.

    Offsets are those of ``struct proc_event`` behind its two headers; numbers stand in this machine's byte order,
    while the filter reads them in that of the network.
    """
    what, thread, process = 36, 60, 64
    return _assemble(
        [
            (_LD_WORD, 0, 0, what),
            (_JUMP_EQUAL, "keep", 0, socket.htonl(2)),
            (_JUMP_EQUAL, 0, "drop", socket.htonl(1)),
            (_LD_WORD, 0, 0, thread),
            (_TAX, 0, 0, 0),
            (_LD_WORD, 0, 0, process),
            (_JUMP_EQUAL_X, "keep", "drop", 0),
            "keep",
            (_RETURN, 0, 0, _ALL_BYTES),
            "drop",
            (_RETURN, 0, 0, 0),
        ]
    )


def _tcp(family: str, ports: list[int], only_opening: bool) -> list[Instruction | str]:
    """Port, flags and payload; the index register holds the length of the IP header."""
    matched = f"{family}-matched"
    program: list[Instruction | str] = []
    if not only_opening:
        program += [(_LD_HALF_X, 0, 0, _ETHER)]
        program += [(_JUMP_EQUAL, matched, 0, port) for port in ports]
    program += [(_LD_HALF_X, 0, 0, _ETHER + 2)]
    program += [(_JUMP_EQUAL, matched, 0, port) for port in ports[:-1]]
    program += [(_JUMP_EQUAL, matched, "drop", ports[-1]), matched, (_LD_BYTE_X, 0, 0, _ETHER + 13)]
    if only_opening:
        return [*program, (_AND, 0, 0, _SYN | _ACK), (_JUMP_EQUAL, "keep", "drop", _SYN)]
    return [*program, (_JUMP_BITS, "keep", 0, _SYN_FIN_RST), *_HAS_PAYLOAD]


def _assemble(program: list[Instruction | str]) -> bytes:
    places: dict[str, int] = {}
    instructions: list[Instruction] = []
    for line in program:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)

    def jump(target: str | int, at: int) -> int:
        return target if isinstance(target, int) else places[target] - at - 1

    return b"".join(
        struct.pack("=HBBI", code, jump(true, at), jump(false, at), operand)
        for at, (code, true, false, operand) in enumerate(instructions)
    )


def attach(listening: socket.socket, instructions: bytes) -> None:
    """Let the kernel filter what ``listening`` gets, and forget what came in before. Raises OSError."""
    program = _FilterProgram(instructions)
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    while select.select([listening], [], [], 0)[0]:
        listening.recv(1)


class _FilterProgram(ctypes.Structure):
    """``struct sock_fprog``; keep the object alive until the filter is attached."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    def __init__(self, instructions: bytes) -> None:
        super().__init__(len(instructions) // 8, instructions)
