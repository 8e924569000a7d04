"""The rules that users install are exactly the command lines that the code runs, and nothing wider."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nightdesk.core.privileged import POWERMETRICS_ARGV, SUDO, TCPDUMP_ARGV_LINUX, TCPDUMP_ARGV_MACOS

EXAMPLE = Path(__file__).parents[2] / "sudoers.d.example"
VISUDO = shutil.which("visudo", path="/usr/sbin:/usr/bin:/sbin:/bin")
needs_visudo = pytest.mark.skipif(VISUDO is None, reason="visudo is not installed")


def aliases(text: str) -> dict[str, tuple[str, ...]]:
    """Name of each command alias → its words, as sudo reads them; commented variants included."""
    found = re.findall(r"^(?:# )?Cmnd_Alias (\w+) = (.+)$", text, re.MULTILINE)
    return {name: tuple(word.replace("\\,", ",") for word in line.split()) for name, line in found}


def linux_variant(text: str) -> str:
    return re.sub(r"^# (?=Cmnd_Alias|your_login)", "", text, flags=re.MULTILINE)


def check(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert VISUDO is not None
    file = folder / "nightdesk"
    file.write_text(text)
    file.chmod(0o440)
    return subprocess.run([VISUDO, "-cf", file], capture_output=True, text=True, check=False, timeout=20)


@needs_visudo
def test_visudo_accepts_the_example_without_a_warning(tmp_path: Path) -> None:
    for text in (EXAMPLE.read_text(), linux_variant(EXAMPLE.read_text())):
        answer = check(text, tmp_path)
        assert answer.returncode == 0, answer.stderr
        assert "parsed OK" in answer.stdout
        assert answer.stderr == ""


@needs_visudo
def test_visudo_would_refuse_a_bare_comma(tmp_path: Path) -> None:
    assert check(EXAMPLE.read_text().replace("\\,", ","), tmp_path).returncode != 0


def test_the_permitted_words_are_those_that_the_code_runs() -> None:
    assert aliases(EXAMPLE.read_text()) == {
        "NIGHTDESK_POWERMETRICS": POWERMETRICS_ARGV,
        "NIGHTDESK_TCPDUMP_MACOS": TCPDUMP_ARGV_MACOS,
        "NIGHTDESK_TCPDUMP_LINUX": TCPDUMP_ARGV_LINUX,
    }


def test_no_rule_is_wider_than_its_words() -> None:
    rules = [line for line in linux_variant(EXAMPLE.read_text()).splitlines() if line and line[0] != "#"]
    for line in rules:
        assert not re.search(r"[*?\[\]^!]", line), f"a wildcard in: {line}"
    grants = [line for line in rules if "NOPASSWD" in line]
    assert len(grants) == 2
    for line in grants:
        named = re.split(r"NOEXEC: ", line)[1].split(", ")
        assert set(named) <= set(aliases(EXAMPLE.read_text()))
        assert "ALL=(root) NOPASSWD: NOEXEC:" in line
    for words in aliases(EXAMPLE.read_text()).values():
        assert words[0].startswith("/usr/")
        assert len(words) > 5


def test_the_file_says_why_short_rules_give_root_away_and_how_to_install_it() -> None:
    text = EXAMPLE.read_text()
    for word in ("-z runs any program", "-o writes any file", "timeout", "visudo -cf", "0440"):
        assert word in text


def test_sudo_never_asks_for_a_password() -> None:
    assert SUDO == ("sudo", "-n")
