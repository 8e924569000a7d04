"""Finding a desk: its file, its folder, its socket, and the configuration that is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightdesk.client.desk import (
    config_file,
    default_folder,
    find_desk,
    read_config,
    read_origins,
    socket_path,
)
from nightdesk.model.errors import ConfigError, NightdeskError


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nightdesk.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_file_above_the_current_folder_is_the_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "[desk]\nname = 'outer'")
    write(tmp_path / "a", "[desk]\nname = 'inner'")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    desk = find_desk(env={})
    assert (desk.name, desk.folder) == ("inner", (tmp_path / "a").resolve())


def test_a_folder_or_a_file_can_be_named_and_the_environment_too(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    assert find_desk(tmp_path, {}).config_path == path.resolve()
    assert find_desk(path, {}).folder == tmp_path.resolve()
    assert find_desk(None, {"NIGHTDESK_DESK": str(tmp_path)}).config_path == path.resolve()
    assert find_desk(path, {}).name == tmp_path.name


def test_a_named_desk_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no desk at .*nothing"):
        config_file(tmp_path / "nothing", {})


def test_without_a_file_the_default_desk_obeys_environment_and_flags(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path), "NIGHTDESK_CAPTURE__SOURCE": "relay"}
    desk = find_desk(env=env, default=default_folder(env), overrides={"store.keep": "3d"})
    assert desk.config_path is None
    assert desk.folder == tmp_path / "nightdesk" / "default"
    assert (desk.config.capture.source, desk.config.store.keep) == ("relay", "3d")


def test_problems_name_the_file_and_come_all_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "[desk]\nnam = 1\n[store]\nkeep = 3\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert caught.value.message == f"{path} has 2 problems."
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["line 2", "line 4"]


def test_a_file_that_is_no_text_or_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nightdesk.toml"
    path.write_bytes(b"[desk]\nname = '\xff'")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert caught.value.problems == ("byte 16 is not UTF-8",)
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        read_config(tmp_path)


def test_a_desk_read_again_keeps_its_flags(tmp_path: Path) -> None:
    path = write(tmp_path, "[capture]\nsource = 'scapy'\nports = [1]")
    desk = find_desk(path, {}, overrides={"capture.source": "relay"})
    path.write_text("[capture]\nsource = 'scapy'\nports = [2]", encoding="utf-8")
    again = desk.read_again()
    assert (again.config.capture.source, again.config.capture.ports) == ("relay", (2,))
    assert read_origins(again) == {
        "capture.source": "--set capture.source",
        "capture.ports": "nightdesk.toml:3",
    }


def test_each_folder_has_a_socket_of_its_own_and_too_long_a_path_is_refused(tmp_path: Path) -> None:
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    one, two = (socket_path(Path(name), env) for name in ("/a", "/b"))
    assert one != two
    assert one.parent == tmp_path / "nightdesk"
    assert socket_path(Path("/a"), {"NIGHTDESK_SOCKET": "/x.sock"}) == Path("/x.sock")
    with pytest.raises(NightdeskError, match="bytes long, the system allows 103"):
        socket_path(Path("/a"), {"NIGHTDESK_SOCKET": "/" + "x" * 120})
