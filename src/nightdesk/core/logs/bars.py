"""Progress bars as tqdm and rich draw them, with or without a total."""

from __future__ import annotations

import re

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.reading import ITEM_LIMIT, Reading, clock_ns, of_percent

_TQDM = re.compile(
    r"(?:(?P<label>[^|]*?):?\s*)?(?P<percent>\d{1,3})%\|[^|]*\|\s*(?P<done>[\d.]+)(?P<dm>[kKMGT]?)i?B?"
    r"/(?P<total>[\d.]+|\?)(?P<tm>[kKMGT]?)i?B?\s*\[(?P<elapsed>[\d:]+|\d+ days?, [\d:]+)"
    r"<(?P<left>\d+ days?, [\d:]+|[^,\]]*)(?:,\s*(?P<rate>[\d.?]+)(?P<rm>[kKMGT]?)(?P<unit>[^,\]]*))?"
)
_TQDM_OPEN = re.compile(
    r"(?:(?P<label>[^|]*?):\s*)?(?<![\w.])(?P<done>\d+(?:\.\d+)?)(?P<unit>[A-Za-z]+) "
    r"\[(?P<elapsed>(?:\d+ days?, )?[\d:]+),\s*(?P<rate>[\d.?]+)(?P<rate_unit>[^,\]]*)\]?"
)
_PERCENT_BAR = re.compile(
    r"^(?P<label>.*?)\s*(?:[━╸╺─█▉▊▋▌▍▎▏░▒▓#=>-]{4,}\s*(?P<a>\d{1,3}(?:\.\d+)?)%|(?P<b>\d{1,3})% ?[▕|\[])"
)
_COUNT_BAR = re.compile(r"^(?P<label>.*?)\s*[━╸╺]{4,}\s*(?P<n>\d{1,9})/(?P<m>\d{1,9})(?![\w/.])")
_SIZE_BAR = re.compile(
    r"^(?P<label>.*?)\s*[━╸╺]{4,}\s*(?P<n>\d+(?:\.\d+)?)/(?P<m>\d+(?:\.\d+)?) (?P<unit>bytes|[kKMGT]?i?B)\b"
)
_POWERS = "kMGT"


def tqdm_bar(text: str) -> Reading | None:
    """``name:  45%|████▌     | 9/20 [00:04<00:05,  2.1it/s]``, or ``9it [00:04,  2.1it/s]``."""
    return _tqdm(text) or _open_tqdm(text)


def _tqdm(text: str) -> Reading | None:
    if "%|" not in text or not (match := _TQDM.search(text)) or match["total"] == "?":
        return None
    unit = match["unit"] or ""
    done, total = _scaled(match["done"], match["dm"], unit), _scaled(match["total"], match["tm"], unit)
    if done is None or total is None or total <= 0 or done > total:
        return None
    label = (match["label"] or "").strip()
    rate, name = _rate(match["rate"], match["rm"], unit)
    series = f"tqdm {label.rstrip('0123456789/ ')} {total}"
    item = safe_line(label, ITEM_LIMIT) or None
    return Reading("tqdm", series, done, total, name, item, rate, clock_ns(match["left"]))


def _open_tqdm(text: str) -> Reading | None:
    match = _TQDM_OPEN.search(text) if " [" in text else None
    if match is None or "/s" not in match["rate_unit"] + "/s" * ("s/" in match["rate_unit"]):
        return None
    scale, unit = _split_unit(match["unit"], "." in match["done"])
    done = _scaled(match["done"], scale, unit)
    if done is None:
        return None
    label = (match["label"] or "").strip()
    rate_scale, rate_unit = _split_unit(match["rate_unit"], scale != "")
    rate, _ = _rate(match["rate"], rate_scale, rate_unit)
    item = safe_line(label, ITEM_LIMIT) or None
    return Reading("tqdm", f"tqdm {label} ?", done, None, unit.replace("iB", "B"), item, rate)


def _split_unit(text: str, is_scaled: bool) -> tuple[str, str]:
    """``kit`` as the thousand and ``it``, where a number was scaled or the unit says so."""
    scaled = text[:1] in _POWERS and len(text) > 1 and (is_scaled or text[1:2] in "iB")
    return (text[0], text[1:]) if scaled else ("", text)


def _rate(number: str | None, scale: str | None, unit: str) -> tuple[float | None, str]:
    name = unit.strip()
    value = _scaled(number, scale or "", unit) if number and number != "?" else None
    if name.startswith("s/"):
        return (1 / value if value else None), name[2:] or "it"
    return value or None, name.removesuffix("/s").replace("iB", "B") or "it"


def _scaled(number: str, scale: str, unit: str) -> float | None:
    """The number behind ``12.3M``: thousands, or 1,024 where bytes are counted so."""
    step = 1024.0 if unit.lstrip().startswith("iB") else 1000.0
    try:
        return float(number) * (step ** (_POWERS.index(scale.replace("K", "k")) + 1) if scale else 1.0)
    except ValueError:
        return None


def count_bar(body: str) -> Reading | None:
    """``files ━━━━━╸━━━━ 3/6`` or ``a.pt ━━━━━━━━━━ 1.0/4.0 MB``, as rich draws it."""
    if (size := _SIZE_BAR.match(body)) is not None:
        return _size_bar(size)
    match = _COUNT_BAR.match(body)
    if match is None or not 0 <= int(match["n"]) <= int(match["m"]) or int(match["m"]) == 0:
        return None
    label = safe_line(match["label"].strip(" :"), ITEM_LIMIT)
    n, m = int(match["n"]), int(match["m"])
    return Reading("counter", f"count bar {label} {m}", n, m, "it", label or None, began=n)


def _size_bar(match: re.Match[str]) -> Reading | None:
    done, total, unit = float(match["n"]), float(match["m"]), match["unit"]
    if not 0 <= done <= total or total == 0:
        return None
    label = safe_line(match["label"].strip(" :"), ITEM_LIMIT)
    return Reading("counter", f"size bar {label} {total}", done, total, unit, label or None, began=done)


def percent_bar(body: str) -> Reading | None:
    """``Working ━━━━━━━━━━ 30% 0:00:07``, ``####   45.3%``, ``pulling x:  45% ▕███``."""
    match = _PERCENT_BAR.match(body)
    if match is None:
        return None
    label = safe_line(match["label"].strip(" :"), ITEM_LIMIT)
    return of_percent(float(match["a"] or match["b"]), f"bar {label}", label or None)
