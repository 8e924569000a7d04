from nightdesk.core.foreign import safe, safe_line

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
