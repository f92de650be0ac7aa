"""What is found in an attempt's folder, though the machine believes to know what is in it."""

import json
import os
import pathlib
from typing import Any

import pytest

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine.slurm import finding, watching

KEY = AttemptKey(job_id="a" * 64, number=1)
NAME = f"{KEY.job_id}.1"
START = {"name": NAME, "slurm_job_id": "12_7", "node": "n1"}
EXIT = START | {"exit_code": 3, "signal": None, "cause": "NONE", "reason": None}
EXIT |= {"cpu_milliseconds": 20, "peak_memory_bytes": 123}


class _Stale:
    """Opens files as a client of NFS does that has seen a folder before a record was in it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._is_fresh = False
        self._open = os.open

    def open(self, path: Any, flags: int, *rest: Any, **options: Any) -> int:  # noqa: ANN401 - as os.open
        found = self._open(path, flags, *rest, **options)
        if pathlib.Path(path) == self._folder:
            self._is_fresh = True
        elif not self._is_fresh and pathlib.Path(path).parent == self._folder:
            os.close(found)
            raise FileNotFoundError(path)
        return found


def test_a_record_that_has_come_meanwhile_is_found_where_a_folder_is_remembered(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start").write_text(json.dumps(START) + "\n")
    (tmp_path / "exit").write_text(json.dumps(EXIT) + "\n")
    watched = watching.Watched(key=KEY, name=NAME, folder=tmp_path, launch=None)
    monkeypatch.setattr(os, "open", _Stale(tmp_path).open)

    found = finding.one(watched)

    assert found.exit is not None
    assert found.exit.exit_code == 3


def test_of_a_folder_that_is_not_there_nothing_is_found(tmp_path: pathlib.Path) -> None:
    watched = watching.Watched(key=KEY, name=NAME, folder=tmp_path / "gone", launch=None)

    found = finding.one(watched)

    assert (found.exit, found.start, found.is_unreadable) == (None, None, False)
