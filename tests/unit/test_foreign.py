import msgspec

from nightdesk.core.foreign import escape_json, safe, safe_line

HOSTILE = "\x1b]52;c;aGk=\x07 \x1b[2J \x9b31m \u202eevil \u2066x\u2069 \x7f \x00"


def test_no_control_reaches_the_terminal() -> None:
    clean = safe(HOSTILE)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in clean)
    assert "\u202e" not in clean and "\u2066" not in clean


def test_clean_text_is_unchanged_with_tabs_newlines_emoji_and_joiners() -> None:
    text = "tab\tnew\nline ünï 漢字 👩\u200d💻 🎉"
    assert safe(text) is text


def test_carriage_returns_vanish() -> None:
    assert safe("a\r\nb") == "a\nb"


def test_lone_surrogates_can_be_encoded_afterwards() -> None:
    assert safe("name\udcff").encode() == "name\ufffd".encode()


def test_a_line_of_ten_megabytes_is_cut() -> None:
    assert len(safe_line("x" * 10_000_000, 100)) == 100
    assert safe_line("a\nb\tc") == "a b c"


def test_json_keeps_its_meaning_and_loses_what_a_terminal_would_obey() -> None:
    value = {"text": f"{HOSTILE} ünï 漢字 👩\u200d💻 \U000e0041 \u2028"}
    escaped = escape_json(msgspec.json.encode(value))
    assert msgspec.json.decode(escaped) == value
    assert safe(escaped.decode()) == escaped.decode()
    assert "ünï 漢字" in escaped.decode()


def test_json_without_anything_to_hide_comes_back_as_it_is() -> None:
    clean = msgspec.json.encode({"text": "a\n\x1b[2J"})
    assert escape_json(clean) is clean


def test_json_for_a_terminal_without_utf_8_is_plain_ascii() -> None:
    value = {"text": "ünï 👩 \x9b"}
    escaped = escape_json(msgspec.json.encode(value), ascii_only=True)
    assert escaped.isascii() and msgspec.json.decode(escaped) == value
