"""Holding a file: one process at a time, named to the others, let go of in any case."""

import os
import threading
import time
from pathlib import Path

import pytest

from velib_dagster.locks import HeldError, hold, holder


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    assert holder(path) is None
    with hold(path):
        assert holder(path) == os.getpid()
        with pytest.raises(HeldError, match=rf"^process {os.getpid()} since 20\d\d-.* UTC$"):
            hold(path)
    assert holder(path) is None
    with hold(path):
        pass


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = hold(path)
    threading.Timer(0.3, first.close).start()
    with hold(path, patience=30):
        assert first.closed


def test_patience_ends(tmp_path: Path) -> None:
    with hold(tmp_path / "lock"):
        begun = time.monotonic()
        with pytest.raises(HeldError):
            hold(tmp_path / "lock", patience=0.2)
        assert time.monotonic() - begun >= 0.2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only: a device without room")
def test_a_full_disk_does_not_keep_from_holding(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.symlink_to("/dev/full")
    with hold(path):
        pass
