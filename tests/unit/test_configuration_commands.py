"""nightdesk config and nightdesk init."""

from __future__ import annotations

import json
import shlex
import socket
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nightdesk.cli.main import nightdesk
from nightdesk.client.desk import find_desk
from nightdesk.client.surroundings import look_around, starter
from nightdesk.model.config import DeskConfig, JobSection
from nightdesk.model.errors import NightdeskError, UsageError

TEXT = """[capture]
ports = [11434]

[jobs.batch]
command = "python b.py --api-key abc123 --server http://127.0.0.1:99"
env = { HF_TOKEN = "hidden-one", LEVEL = "2" }
"""


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port on which nothing answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{free.getsockname()[1]}")


def run(*words: str | Path, **env: str) -> Result:
    return CliRunner().invoke(nightdesk, [str(word) for word in words], env=env)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "nightdesk.toml").write_text(TEXT)
    return tmp_path


def test_show_prints_valid_toml_with_origins_and_without_secrets(desk: Path) -> None:
    shown = run("-d", desk, "--set", "capture.source=relay", "config", "show", NIGHTDESK_STORE__KEEP="3d")
    assert shown.exit_code == 0
    values = tomllib.loads(shown.stdout)
    assert values["capture"]["source"] == "relay"
    assert values["jobs"]["batch"]["env"] == {"HF_TOKEN": "***", "LEVEL": "2"}
    assert values["jobs"]["batch"]["command"] == "python b.py --api-key *** --server http://127.0.0.1:99"
    lines = {
        line.partition(" =")[0]: line.rpartition("# ")[2] for line in shown.stdout.splitlines() if "=" in line
    }
    assert lines["ports"] == "nightdesk.toml:2"
    assert lines["source"] in ("--set capture.source", "default")
    assert lines["keep"] == "environment NIGHTDESK_STORE__KEEP"
    assert lines["command"] == "nightdesk.toml:5"
    assert "hidden-one" not in shown.stdout and "abc123" not in shown.stdout


def test_show_as_json_says_the_same(desk: Path) -> None:
    shown = json.loads(run("-d", desk, "config", "show", "--json").stdout)
    assert shown["path"] == str(desk / "nightdesk.toml")
    assert shown["config"]["jobs"]["batch"]["env"]["HF_TOKEN"] == "***"
    assert shown["origins"]["jobs.batch.command"] == "nightdesk.toml:5"


def test_path_prints_the_file_in_use_or_says_that_there_is_none(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("-d", desk, "config", "path").stdout.strip() == str(desk / "nightdesk.toml")
    (desk / "empty").mkdir()
    (desk / "nightdesk.toml").unlink()
    monkeypatch.chdir(desk / "empty")
    assert isinstance(run("config", "path").exception, NightdeskError)


def test_validate_prints_all_problems_and_ends_with_2(desk: Path) -> None:
    assert "is valid: 1 job." in run("-d", desk, "config", "validate").stdout
    (desk / "nightdesk.toml").write_text("[captur]\nx = 1\n[store]\nkeep = 3\n")
    done = run("-d", desk, "config", "validate")
    assert done.exit_code == 2
    assert "line 1: there is no section [captur]; did you mean [capture]?" in done.stdout
    assert "line 4: [store] keep must be" in done.stdout
    told = json.loads(run("-d", desk, "config", "validate", "--json").stdout)
    assert (told["valid"], len(told["problems"])) == (False, 2)


def test_schema_describes_every_section_and_refuses_unknown_keys() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert set(schema["$defs"]["DeskConfig"]["properties"]) == set(DeskConfig.__struct_fields__)
    job = schema["$defs"]["JobSection"]
    assert set(job["properties"]) == set(JobSection.__struct_fields__)
    assert job["additionalProperties"] is False and job["required"] == ["command"]
    assert job["properties"]["items"]["description"].startswith("Glob of the items")


def test_init_writes_a_valid_file_from_what_is_there_and_never_overwrites(tmp_path: Path) -> None:
    for name in (
        "scripts/transcribe.py",
        "scripts/a b.py",
        "scripts/a-b.py",
        "logs/x.log",
        "audio [old]/1.mp3",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    done = run("init", tmp_path)
    assert done.exit_code == 0
    assert "nothing answers on 127.0.0.1:" in done.stdout
    assert "(1 file)" in done.stdout
    config = find_desk(tmp_path, {}).config
    assert config.watch.logs[0] == "logs/*.log"
    assert {shlex.split(job.command)[1] for job in config.jobs.values()} == {
        "scripts/transcribe.py", "scripts/a b.py", "scripts/a-b.py",
    }  # fmt: skip
    before = (tmp_path / "nightdesk.toml").read_text()
    assert '# items = "audio [[]old]/*.mp3"' in before
    assert isinstance(run("init", tmp_path).exception, UsageError)
    assert (tmp_path / "nightdesk.toml").read_text() == before


def test_init_in_an_empty_folder_gives_a_desk_without_jobs(tmp_path: Path) -> None:
    assert run("init", tmp_path).exit_code == 0
    assert find_desk(tmp_path, {}).config.jobs == {}


def test_commented_lines_of_the_starter_are_valid_too(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "whisper_all.py").touch()
    (tmp_path / "1.wav").touch()
    text = starter(look_around(tmp_path, {"OLLAMA_HOST": "127.0.0.1:1"}))
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line or line.startswith("[")]
    lines = [line for at, line in enumerate(lines) if not line.startswith("command") or "{item}" in line]
    (tmp_path / "nightdesk.toml").write_text("\n".join(lines))
    assert find_desk(tmp_path, {}).config.jobs["whisper_all"].items == "*.wav"


def test_a_server_on_another_machine_is_named_and_not_captured(tmp_path: Path) -> None:
    found = look_around(tmp_path, {"OLLAMA_HOST": "http://gpu-box.example:8080"})
    assert (found.elsewhere, found.server_port) == ("gpu-box.example", 11434)
    assert any("another machine" in line for line in found.told())
