import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Fresh surroundings; nothing survives the test."""
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed (Debian: apt-get install tmux)")
    made = World(tmp_path)
    yield made
    made.close()
