"""A sample batch, as a user would have written it: turns interview transcripts into summaries with a local model.

It knows nothing about Nightdesk, needs the standard library only, and is copied into the demo's folder as
``scripts/enhanced_batch.py``. Like grown pipelines it has its faults: one prompt is too long for the context, one
reply is cut, one file is broken, small models loop, stall or spoil their JSON, one model is loaded again and again, and
``--prepare`` leaves a worker behind.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "qwen2.5-coder:32b"
FAST_MODEL = "llama3.1:8b"
THINKING_MODEL = "qwen3:8b-think"
SMALL_MODEL = "tinyllama:1.1b"
STALLING_MODEL = "phi4-mini:3.8b"
BLANK_MODEL = "gemma3:270m"
FENCING_MODEL = "smollm2:360m"
EMBEDDER = "nomic-embed-text"
SERVER = "http://127.0.0.1:11434"
STATE = Path("state")
OUTPUT = Path("output")
BAR_WIDTH = 30
SPEAKERS = ("Anna", "the harbour master", "Mr. Lindqvist", "a nurse on night shift", "the organ builder")
LINES = (
    "We had the water in the cellar before anybody called.",
    "The plan was approved in spring, and then nothing happened for eleven weeks.",
    "I would not say that it was a mistake, I would say that nobody had read it.",
    "You can see the old tracks when the tide is low.",
    "My father kept the books by hand until the very end.",
)

log = logging.getLogger("enhanced_batch")


class Server:
    """A model server, spoken to with nothing but urllib."""

    def __init__(self, address: str) -> None:
        self.address = address if "://" in address else f"http://{address}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """The whole answer, decoded."""
        with self._open(path, body) as answer:
            return json.loads(answer.read())

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[Any]:
        """The answer, object by object."""
        with self._open(path, body) as answer:
            for line in answer:
                yield json.loads(line)

    def version(self) -> str:
        """The server's version."""
        with self._open("/api/version", None) as answer:
            return str(json.loads(answer.read())["version"])

    def _open(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address is the user's own OLLAMA_HOST
            self.address + path, data=data, headers={"Content-Type": "application/json"}
        )
        return self._opener.open(request, timeout=600)


def transcript_of(item: str, lines: int = 14) -> str:
    """The transcript that an earlier step wrote, or a made-up one."""
    written = Path("transcripts") / f"{Path(item).stem}.json"
    if written.exists():
        return "\n".join(part["text"] for part in json.loads(written.read_text())["segments"])
    start = sum(item.encode())
    return "\n".join(
        f"{SPEAKERS[(start + at) % len(SPEAKERS)]}: {LINES[(start + 3 * at) % len(LINES)]}"
        for at in range(lines)
    )


def extract_quotes(server: Server, number: int, text: str) -> dict[str, Any]:
    """Quotes as JSON. Every now and then the reply is cut in the middle."""
    body = {
        "model": {3: FENCING_MODEL, 12: BLANK_MODEL}.get(number % 16, FAST_MODEL),
        "prompt": f"Give headline, summary and quotes of this interview as JSON.\n\n{text}",
        "format": "json",
        "stream": False,
        "options": {"seed": number, "num_predict": 24 if number % 16 == 9 else 400},
    }
    reply = server.ask("/api/generate", body)["response"]
    try:
        return dict(json.loads(reply))
    except ValueError:
        log.warning("reply for item %d is not valid JSON, keeping it as text", number)
        return {"summary": reply}


def write_summary(server: Server, number: int, text: str) -> str:
    """A summary, streamed. The fifth interview is longer than the context that was asked for."""
    long = text * 40 if number % 16 == 5 else text
    odd = {11: SMALL_MODEL, 13: STALLING_MODEL}
    model = THINKING_MODEL if number % 6 == 4 else odd.get(number % 16, MODEL)
    messages = [
        {"role": "system", "content": "You are a careful newsroom editor. Never invent quotes."},
        {"role": "user", "content": f"Write a summary of this interview.\n\n{long}"},
    ]
    body = {"model": model, "messages": messages, "options": {"seed": number, "num_ctx": 4096}}
    parts = []
    for part in server.stream("/api/chat", body):
        if "error" in part:
            raise RuntimeError(part["error"])
        parts.append(part["message"]["content"])
    return "".join(parts)


def parse_recording(path: Path) -> int:
    """Size of a recording. The seventh one was cut while it was copied."""
    size = path.stat().st_size if path.exists() else 1024
    if path.stem.endswith("_07"):
        raise ValueError(f"{path.name}: frame header expected at byte {size - 13}, found 0x00 0x00")
    return size


def process(server: Server, number: int, item: str) -> None:
    """Everything for one item; its result is one file in the output folder."""
    size = parse_recording(Path(item))
    text = transcript_of(item)
    # Somebody wanted to save memory here: the embedder is loaded anew for each of these.
    hold = {"keep_alive": 0} if number % 16 in (13, 14, 15) else {}
    server.ask("/api/embed", {"model": EMBEDDER, "input": text.splitlines(), **hold})
    quotes = extract_quotes(server, number, text)
    summary = write_summary(server, number, text)
    result = {"item": item, "bytes": size, "summary": summary, "quotes": quotes}
    OUTPUT.mkdir(exist_ok=True)
    write_whole(OUTPUT / f"{Path(item).stem}.json", json.dumps(result, indent=1))


def write_whole(path: Path, text: str) -> None:
    """Writes so that nobody ever reads half a file."""
    draft = path.with_suffix(path.suffix + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def save_progress(done: int, failed: int, total: int, item: str) -> None:
    """What a dashboard would want to know."""
    STATE.mkdir(exist_ok=True)
    state = {"done": done, "failed": failed, "total": total, "item": item, "at": time.time_ns()}
    write_whole(STATE / "progress.json", json.dumps(state))


def load_index(count: int, speed: float) -> None:
    """A phase with a progress bar on stderr."""
    began = time.monotonic_ns()
    for done in range(count + 1):
        filled = done * BAR_WIDTH // max(count, 1)
        took = (time.monotonic_ns() - began) / 1e9
        rate = done / took if took and done else 0.0
        left = (count - done) / rate if rate else 0.0
        bar = "█" * filled + " " * (BAR_WIDTH - filled)
        times = f"{clock(took)}<{clock(left)}, {rate:5.2f}it/s"
        share = 100 * done // max(count, 1)
        sys.stderr.write(f"\rLoading index: {share:3d}%|{bar}| {done}/{count} [{times}]")
        sys.stderr.flush()
        time.sleep(0.015 * speed)
    sys.stderr.write("\n")


def clock(seconds: float) -> str:
    """``MM:SS``"""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def find_items(count: int) -> list[str]:
    """The recordings, or as many made-up names where there are none."""
    found = sorted(str(path) for path in Path("audio").glob("*.mp3"))
    return (found or [f"audio/interview_{at:02d}.mp3" for at in range(1, 53)])[: count or None]


def run_batch(server: Server, items: list[str], speed: float) -> int:
    """All items, one after the other; the number of failed ones."""
    failed = 0
    total = len(items)
    for number, item in enumerate(items, 1):
        save_progress(number - 1 - failed, failed, total, item)
        print(f"[{number}/{total}] Processing {Path(item).name}", flush=True)
        began = time.monotonic_ns()
        try:
            process(server, number, item)
        except (ValueError, RuntimeError, KeyError):
            failed += 1
            traceback.print_exc()
            log.error("item %s failed", item)
            continue
        log.info("%s done in %.1f s", item, (time.monotonic_ns() - began) / 1e9)
        time.sleep(0.3 * speed)
    save_progress(total - failed, failed, total, "")
    print(f"Done: {total - failed} written, {failed} failed", flush=True)
    return failed


def is_alive(mark: Path) -> bool:
    """True where the worker that wrote ``mark`` still runs."""
    try:
        os.kill(int(mark.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def prepare(speed: float) -> None:
    """Checks the recordings and warms a Whisper worker up. Forgets to end it."""
    mark = STATE / "whisper_worker.pid"
    STATE.mkdir(exist_ok=True)
    if not is_alive(mark):
        mark.touch()
        worker = Path(__file__).with_name("whisper_worker.py")
        process = subprocess.Popen(
            [sys.executable, str(worker), "--model", "large-v3", "--while", str(mark)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        mark.write_text(str(process.pid))
        print(f"Started whisper worker (large-v3), pid {process.pid}", flush=True)
    for path in map(Path, find_items(0)):
        print(f"checked {path.name}", flush=True)
        time.sleep(0.01 * speed)


def report() -> None:
    """One page from all summaries."""
    results = [json.loads(path.read_text()) for path in sorted(OUTPUT.glob("*.json"))]
    page = "\n\n".join(f"# {Path(one['item']).stem}\n\n{one['summary']}" for one in results)
    write_whole(Path("report.md"), page)
    print(f"Wrote report.md from {len(results)} summaries", flush=True)


def dry_run(server: Server, items: list[str]) -> None:
    """Says what a run would do and whether it could."""
    print(f"Server {server.address}, version {server.version()}")
    for number, item in enumerate(items, 1):
        print(f"[{number}/{len(items)}] Would process {item} with {MODEL}")
    print("Dry run: nothing was sent to a model, nothing was written")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Summarise interviews with a local model.")
    parser.add_argument("--server", default=SERVER, help="used where OLLAMA_HOST is not set")
    parser.add_argument("--single", metavar="ITEM")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--items", type=int, default=0, help="only the first N")
    parser.add_argument("--speed", type=float, default=1.0, help="factor of all pauses; 0 has none")
    return parser.parse_args()


def start_logging() -> None:
    """A log file next to what the command prints."""
    Path("logs").mkdir(exist_ok=True)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename="logs/enhanced_batch.log", level=logging.INFO, format=form)


def main() -> int:
    """The exit status: 1 where the server can't be reached or a single item failed."""
    options = parse_arguments()
    start_logging()
    server = Server(os.environ.get("OLLAMA_HOST") or options.server)
    items = find_items(options.items)
    try:
        if options.prepare:
            prepare(options.speed)
        elif options.report:
            report()
        elif options.dry_run:
            dry_run(server, items)
        elif options.single:
            return 1 if run_batch(server, [options.single], options.speed) else 0
        else:
            load_index(len(items), options.speed)
            run_batch(server, items, options.speed)
    except (urllib.error.URLError, ConnectionError) as fault:
        print(f"error: no answer from {server.address}: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
