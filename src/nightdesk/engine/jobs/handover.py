"""Frees the memory of the model servers before a run starts, and looks whether it really came free.

``ollama stop`` does the same: a request without a prompt and with ``keep_alive`` 0. A model that answers somebody goes
when it has answered. Our requests carry our own User-Agent, which the capture leaves out.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from nightdesk import __version__
from nightdesk.core.foreign import safe_line
from nightdesk.engine.servers import BODY_LIMIT, loaded_models
from nightdesk.model.desk import LoadedModel
from nightdesk.model.units import format_bytes, format_duration

LOOK_SECONDS = 0.2
ANSWER_SECONDS = 5.0
DEVICE_SECONDS = 10.0
"""So long the accelerator's memory may take to fall after the servers say that the models are gone."""
ENOUGH = 0.8
"""Of a model's size on the accelerator: so much less in use there counts as freed."""
FAULTS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What is in use on all accelerators together, at one moment."""

    at_ns: int
    used: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A model in the memory of the server on a port."""

    port: int
    model: LoadedModel

    @property
    def words(self) -> str:
        size = self.model.size_bytes
        return safe_line(self.model.name, 80) + (f" ({format_bytes(size)})" if size else "")


class ModelHandover:
    """Asks the servers on ``ports`` to free their models. ``devices`` gives the newest measurement, if there is one."""

    def __init__(
        self, ports: Callable[[], tuple[int, ...]], devices: Callable[[], DeviceMemory | None]
    ) -> None:
        self._ports = ports
        self._devices = devices

    async def free(self, limit_ns: int, tell: Callable[[str], None]) -> str:
        """What became of it, in a sentence or two. ``tell`` hears what is going on.

        Takes no longer than ``limit_ns`` and some seconds. Never raises for a server that does not answer.
        """
        began, limit_s = time.monotonic(), limit_ns / 1e9
        held = await asyncio.to_thread(self._held)
        if not held:
            return "The model servers held no model."
        before = self._devices()
        tell(f"Unloads {_list(held)} …")
        refused = await asyncio.to_thread(self._unload, held)
        left = await self._wait_gone(held, began + limit_s)
        took = format_duration(round((time.monotonic() - began) * 1e9))
        if left:
            why = f" ({refused})" if refused else ""
            return f"{_list(left)} {_was(left)} still loaded after {took}{why}; it started anyway."
        said = f"Unloaded {_list(held)} in {took}."
        return said + await self._device_words(held, before, tell)

    def _held(self) -> list[_Held]:
        """What the servers hold. Blocks."""
        held = []
        for port in self._ports():
            try:
                status, body = _request(port, "GET", "/api/ps", None)
                if status == http.client.OK:
                    held += [_Held(port, model) for model in loaded_models(body)]
            except FAULTS:
                continue  # nobody there, or no such server: it holds nothing that we could free
        return held

    def _unload(self, held: list[_Held]) -> str:
        """Why a model was not unloaded, empty where none was refused. Blocks."""
        refused = ""
        for each in held:
            order = {"model": each.model.name, "keep_alive": 0}
            try:
                status, body = _request(each.port, "POST", "/api/generate", order)
                if status == http.client.BAD_REQUEST:
                    # Some servers let a model that only embeds be asked for embeddings alone.
                    status, body = _request(each.port, "POST", "/api/embed", order | {"input": ""})
                if status >= http.client.BAD_REQUEST:
                    refused = (
                        f"its server answered {status}: {safe_line(body.decode('utf-8', 'replace'), 120)}"
                    )
            except FAULTS as fault:
                refused = f"its server did not answer: {type(fault).__name__}"
        return refused

    async def _wait_gone(self, held: list[_Held], until_s: float) -> list[_Held]:
        """Those that are still loaded when the time is up; empty as soon as none is."""
        names = {(each.port, each.model.name) for each in held}
        while True:
            now = await asyncio.to_thread(self._held)
            left = [each for each in now if (each.port, each.model.name) in names]
            if not left or time.monotonic() >= until_s:
                return left
            await asyncio.sleep(LOOK_SECONDS)

    async def _device_words(
        self, held: list[_Held], before: DeviceMemory | None, tell: Callable[[str], None]
    ) -> str:
        """Whether the accelerators have it back too; empty where that is not known."""
        expected = sum(each.model.vram_bytes or 0 for each in held)
        if before is None or not expected:
            return ""
        tell("The models are unloaded; waits for the accelerator's memory.")
        gone_ns, until_s = time.time_ns(), time.monotonic() + DEVICE_SECONDS
        back = 0
        while time.monotonic() < until_s:
            now = self._devices()
            if now is not None and now.at_ns > gone_ns:
                back = before.used - now.used
                if back >= expected * ENOUGH:
                    return f" The accelerators have {format_bytes(back)} back."
            await asyncio.sleep(LOOK_SECONDS)
        return (
            f" Of {format_bytes(expected)} on the accelerators only {format_bytes(max(0, back))} came back."
        )


def _request(port: int, method: str, path: str, body: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        headers = {"User-Agent": f"nightdesk/{__version__}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read(BODY_LIMIT)
    finally:
        connection.close()


def _list(held: list[_Held]) -> str:
    words = [each.words for each in held]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _was(held: list[_Held]) -> str:
    return "was" if len(held) == 1 else "were"
