"""The small disk of the fault tests: full when told, and gone afterwards."""

import contextlib
import errno
import os
import pathlib

import pytest

from support import fault_disk

SIZE_BYTES = 1 << 20


def test_a_full_disk_takes_nothing_until_it_is_freed(tmp_path: pathlib.Path) -> None:
    with fault_disk.small(tmp_path / "disk", SIZE_BYTES) as disk:
        file = disk.folder / "file"
        file.write_bytes(b"x" * 100_000)
        disk.fill()
        assert disk.free_bytes == 0
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (disk.folder / "other").write_bytes(b"x" * 10_000)
        disk.free()
        (disk.folder / "other").write_bytes(b"x" * 10_000)
        disk.fill(but_bytes=50_000)
        assert 0 < disk.free_bytes <= 53_248
        assert file.read_bytes() == b"x" * 100_000
    assert not (tmp_path / "disk").exists()


def test_a_disk_that_is_still_in_use_is_told_and_gone_all_the_same(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as held:

        def leave_open() -> None:
            with fault_disk.small(tmp_path / "disk", SIZE_BYTES) as disk:
                held.enter_context((disk.folder / "file").open("wb"))

        with pytest.raises(AssertionError, match="still in use"):
            leave_open()
        assert not (tmp_path / "disk").exists()
