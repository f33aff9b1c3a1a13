"""Files are whole or absent, and temporary files are cleared only when their writer is dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline.cache import InputError, atomic_write, clear_temporary, lock_file
from frostline.cache.atomic import NO_LOCKS

WRITER = """
import sys, time
from pathlib import Path
from frostline.cache import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_the_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("all of it")
        assert not target.exists()
    assert target.read_text() == "all of it"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_write(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    # Writing whole files needs none: but then nobody is known to be dead.
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("all of it")
    (tmp_path / ".tmp-0123abcd-b.txt").write_text("half")
    assert clear_temporary(tmp_path) == 0
    # What two processes must not do at once is refused.
    with pytest.raises(InputError) as caught, lock_file(tmp_path / "lock"):
        pass
    assert str(caught.value).startswith(f"The file system of {tmp_path} has no locks, ")


def test_only_a_dead_writers_temporary_file_is_cleared(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "a.txt")], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    assert clear_temporary(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert clear_temporary(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import os, sys, time
from pathlib import Path
from frostline.cache import lock_file
with lock_file(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"True\n"
    with lock_file(path) as mine:
        assert not mine
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert path.exists()
    with lock_file(path) as mine:
        assert mine
    with lock_file(path, wait=True) as mine, lock_file(path) as other:
        assert (mine, other) == (True, False)


FORKED = HOLDER.replace("    print(mine", "    print(os.fork() or time.sleep(60)")


def test_the_children_of_a_killed_process_do_not_keep_its_lock(tmp_path: Path) -> None:
    """As workers that load images live on for a while."""
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", FORKED, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    holder.kill()
    holder.wait()
    holder.stdout.close()
    try:
        deadline = time.monotonic() + 20  # the child lets go when it runs for the first time
        mine = False
        while not mine and time.monotonic() < deadline:
            with lock_file(path) as mine:
                os.kill(child, 0)  # it lives
        assert mine
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError), atomic_write(Path()):
        pass
