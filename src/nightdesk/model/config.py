"""The configuration of a desk, as ``nightdesk.toml`` spells it. The reader in core refuses unknown keys."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from nightdesk.model.exchange import VerdictKind
from nightdesk.model.job import Priority
from nightdesk.model.outputs import Language, Rule


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables of the file."""


Port = Annotated[int, Meta(ge=1, le=65535)]
Span = Annotated[
    str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$", examples=["250ms", "30s", "10m", "2h"])
]
"""A length of time with its unit."""
Size = Annotated[
    str, Meta(pattern=r"^[0-9]+(\.[0-9]+)? ?(MB|GB|TB|MiB|GiB|TiB)$", examples=["512MB", "20GB"])
]
"""An amount of memory with its unit."""
Amount = Annotated[int, Meta(ge=1, le=1000)]
"""Of a slot."""


class DeskSection(Section, frozen=True, kw_only=True):
    """``[desk]``"""

    name: str | None = None
    """Shown in the header; the folder's name where absent."""
    keep_awake: bool = True
    """Keep the machine from falling asleep while runs go on."""


class CaptureSection(Section, frozen=True, kw_only=True):
    """``[capture]``"""

    source: Literal["auto", "scapy", "tcpdump", "relay", "file", "off"] = "auto"
    file: str | None = None
    """The capture file of the source ``file``, relative to the desk's folder; each start of the engine reads it."""
    ports: tuple[Port, ...] = (11434,)
    """Ports of model servers on this machine. Empty, with the source ``file``: guessed from the traffic."""
    interface: str | None = None
    """The loopback interface where absent: ``lo`` or ``lo0``."""
    relay_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port on which the relay listens; 0 takes a free one."""
    record: Literal["full", "metadata", "none"] = "full"
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 4_000_000
    """Bodies are cut in the record beyond this."""


class WatchSection(Section, frozen=True, kw_only=True):
    """``[watch]``"""

    processes: tuple[str, ...] = ("ollama", "whisper", "llama-server", "llama.cpp", "vllm", "mlx_lm")
    """Words looked for in command lines (case is ignored)."""
    logs: tuple[str, ...] = ("logs/*.log", "~/.ollama/logs/server.log")
    """Globs, relative to the desk's folder."""
    interval: Span = "1s"


SensorSource = Literal[
    "auto",
    "powermetrics",
    "macmon",
    "mactop",
    "asitop",
    "ioreg",
    "nvml",
    "nvidia-smi",
    "amd",
    "host",
    "file",
    "off",
]
SENSOR_SOURCES: tuple[str, ...] = get_args(SensorSource)


class SensorsSection(Section, frozen=True, kw_only=True):
    """``[sensors]``"""

    source: SensorSource = "auto"
    file: str | None = None
    """The recording of the source ``file``, relative to the desk's folder."""
    interval: Span = "1s"


class EnergySection(Section, frozen=True, kw_only=True):
    """``[energy]``"""

    price_per_kwh: Annotated[float, Meta(ge=0, le=1000)] | None = None
    """Without it, energy is shown without a price."""
    currency: Annotated[str, Meta(max_length=8)] = "EUR"


class VerdictsSection(Section, frozen=True, kw_only=True):
    """``[verdicts]``"""

    off: tuple[VerdictKind, ...] = ()
    """Kinds that are never reported."""
    slow_first_token: Span = "20s"  # noqa: S105 - a length of time, no secret
    stalled_after: Span = "30s"
    """Silence in a running reply."""
    only_thinking_after: Span = "10m"
    """Thinking without a word of the reply, while it runs."""
    reload_takes: Span = "1s"
    """A load that is shorter is none."""
    loop_repeats: Annotated[int, Meta(ge=5, le=1000)] = 20
    """Equal short pieces in a row; of sentences 8, of paragraphs 4 are enough, in the same proportion."""
    whitespace_run: Annotated[int, Meta(ge=50, le=100_000)] = 400
    """Characters of white space in a row."""
    reply_cut_above: Annotated[int, Meta(ge=0, le=100_000)] = 8
    """A reply that may have no more tokens than this is short on purpose."""
    context_full_percent: Annotated[int, Meta(ge=50, le=100)] = 90


class StoreSection(Section, frozen=True, kw_only=True):
    """``[store]``"""

    keep: Span = "30d"
    max_bytes: Annotated[int, Meta(ge=1_000_000)] = 2_000_000_000
    keep_runs: Annotated[int, Meta(ge=1)] = 200
    """Folders of ended runs; the newest run of each job always stays."""
    max_run_bytes: Annotated[int, Meta(ge=1_000_000)] = 20_000_000_000
    """What the folders of ended runs hold together."""


class ExportSection(Section, frozen=True, kw_only=True):
    """``[export]``"""

    redact: tuple[str, ...] = ()
    """Regular expressions; what they find is replaced in every export."""


class ViewerSection(Section, frozen=True, kw_only=True):
    """``[viewer]``"""

    theme: str = "nightdesk-dark"
    ascii: bool = False
    mouse: bool = True
    keys: dict[str, str] = {}
    """Binding id → keys, for example ``"jobs.kill" = "ctrl+k"``."""


class Retry(Section, frozen=True, kw_only=True):
    """``retry = { attempts = 3, backoff = "30s", max = "10m" }``"""

    attempts: Annotated[int, Meta(ge=1, le=100)] = 1
    backoff: Span = "30s"
    max: Span = "10m"


class ItemsSource(Section, frozen=True, kw_only=True):
    """``items = { lines = "list.txt" }``: items that are no files. Exactly one of the first three is given."""

    lines: str | None = None
    """A file with one item a line; empty lines and those that begin with # are passed over."""
    jsonl: str | None = None
    """A file of JSON Lines: texts, or objects of which ``key`` is the item."""
    command: str | None = None
    """A command that prints one item a line; started without a shell in the job's folder."""
    key: str = "item"


class Fallback(Section, frozen=True, kw_only=True):
    """``fallback = { model = "...", after = 2 }``, or with a ``command``, or with both."""

    command: str | None = None
    """Started in place of the job's command; that one where there is none."""
    model: str | None = None
    """Takes the place of the job's model."""
    after: Annotated[int, Meta(ge=1, le=100)] = 1
    """Failed attempts, of the item or the run, before it is used."""


class OutputRules(Section, frozen=True, kw_only=True):
    """``[jobs.NAME.validate]``: what each output of the job must be. Files are relative to the job's folder."""

    files: str | None = None
    """Glob of the outputs of a job without items; each file is an item of its own."""
    min_bytes: Annotated[int, Meta(ge=1)] | None = None
    max_bytes: Annotated[int, Meta(ge=1)] | None = None
    schema: str | None = None
    """File with a JSON Schema; of JSON Lines each line must obey it."""
    headings: tuple[str, ...] = ()
    """Must be there as headings of Markdown; ``## Name`` asks for the level too."""
    patterns: tuple[str, ...] = ()
    """Regular expressions that must be found."""
    forbidden: tuple[str, ...] = ()
    """Regular expressions that must not."""
    not_truncated: bool = False
    not_repeated: bool = False
    language: Language | None = None
    """By an estimate."""
    code: bool = False
    """Blocks of code must compile."""
    golden: str | None = None
    """What the output is compared with; ``{stem}``, ``{name}``, ``{item}`` are replaced."""
    golden_least: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """How alike they must be."""
    text: str | None = None
    """Where the text lies in a JSON output: ``reply.text``; all of its texts without it."""
    warn: tuple[Rule, ...] = ()
    """Rules that only warn."""
    within: Span = "30s"
    """So long the rules may take for one output."""


class JobSection(Section, frozen=True, kw_only=True):
    """``[jobs.NAME]``"""

    command: str
    """Started without a shell: split like a shell would, nothing is expanded. ``{item}`` is replaced."""
    description: str | None = None
    model: str | None = None
    """Takes the place of ``{model}`` in the job's commands."""
    items: str | ItemsSource | None = None
    """Glob of the items, relative to the job's folder; or where else they come from."""
    parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    """Items in work at the same time."""
    needs_items: tuple[str, ...] = ()
    """Jobs that must have done an item of the same stem before this one may work on it."""
    outputs: str | None = None
    """An item whose output exists is skipped; ``{stem}``, ``{name}``, ``{item}`` are replaced."""
    validate: OutputRules | None = None
    check: str | None = None
    """Command that ends with 0 when the output of an item is valid: asked before it is skipped, and after it ran."""
    single: str | None = None
    """Command for one single item; the command itself where it holds ``{item}``."""
    dry_run: str | None = None
    needs: tuple[str, ...] = ()
    uses: dict[str, Amount] = {}
    """Slot → how much of it a run takes; ``[slots]`` says how much there is, 1 of a slot that it does not name."""
    memory: Size | None = None
    """A run starts when so much memory of the machine is free, beyond what others reserve."""
    priority: Priority = "analysis"
    unload_models: bool = False
    """The watched model servers free their models before the run starts."""
    unload_within: Span = "1m"
    """So long the models may take to go; then the run starts all the same."""
    timeout: Span | None = None
    stall_after: Span | None = None
    grace: Span = "10s"
    """Time between SIGTERM and SIGKILL when a run is stopped."""
    retry: Retry = Retry()
    fallback: Fallback | None = None
    progress: str | None = None
    """A file in which the command keeps its state: JSON or JSON Lines; or ``file.db: SELECT done, total, item ...``."""
    record: Literal["full", "metadata", "none"] | None = None
    folder: str = "."
    """Working folder, relative to the desk's folder."""
    env: dict[str, str] = {}


class WhisperSection(Section, frozen=True, kw_only=True):
    """``[whisper]``"""

    python: str | None = None
    """Python, or folder of a virtual environment, that has openai-whisper; relative to the desk's folder."""


class ProgressSection(Section, frozen=True, kw_only=True):
    """``[progress]``"""

    patterns: tuple[str, ...] = ()
    """Regular expressions with a group ``done`` and, if there are any, ``total`` and ``item``: read before others."""


class DeskConfig(Section, frozen=True, kw_only=True):
    """A whole ``nightdesk.toml``."""

    desk: DeskSection = DeskSection()
    capture: CaptureSection = CaptureSection()
    watch: WatchSection = WatchSection()
    progress: ProgressSection = ProgressSection()
    sensors: SensorsSection = SensorsSection()
    energy: EnergySection = EnergySection()
    whisper: WhisperSection = WhisperSection()
    store: StoreSection = StoreSection()
    verdicts: VerdictsSection = VerdictsSection()
    viewer: ViewerSection = ViewerSection()
    export: ExportSection = ExportSection()
    slots: dict[str, Amount] = {}
    """What jobs share → how much of it there is."""
    jobs: dict[str, JobSection] = {}


SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def size_bytes(size: str) -> int:
    """Bytes of a :data:`Size` such as ``"20GB"``. The reader has checked its form."""
    bare = size.rstrip()
    number = bare.rstrip("MGTiB ")
    return int(float(number) * SIZES[bare[len(number) :].strip()])


SPAN_NS = {"ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}


def span_ns(span: str) -> int:
    """Nanoseconds of a :data:`Span` such as ``"10m"``. The reader has checked its form."""
    # The form allows one line end behind the unit.
    bare = span.rstrip()
    unit = bare.lstrip("0123456789.")
    return int(float(bare[: -len(unit)]) * SPAN_NS[unit])
