"""What a batch file asks for: configs whose files are still local. Pure values."""

import bisect
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from google.protobuf import duration_pb2, struct_pb2

from dshpc.cli import policies, sweeps
from dshpc.cli.policies import Cache, Resubmit
from dshpc.cli.references import Dependency, JobOutput
from dshpc.cli.sweeps import FileAxis, Source, Sweep
from dshpc.v1 import types_pb2

InputSource: TypeAlias = Source | JobOutput

DEFAULT_INPUT = "input"
"""The input that `file_hash` of a config stands for."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One config of the batch, its files still local."""

    method_name: str
    place: str = ""
    """Where it stands in the batch file."""
    config_id: str = ""
    family: str = ""
    """What a job is called of which this is one of several: it has one config for each file."""
    inputs: Mapping[str, InputSource] = dataclasses.field(default_factory=dict)
    parameters: struct_pb2.Struct | None = None
    timeout: duration_pb2.Duration | None = None
    resources: types_pb2.Resources | None = None
    function_hash: str = ""
    priority: int | None = None
    cache: Cache | None = None
    """These two: None for what the batch says."""
    depends_on: tuple[Dependency, ...] = ()
    sweep: Sweep | None = None

    @property
    def count(self) -> int:
        """How many rows of the answer it is."""
        return 1 if self.sweep is None else self.sweep.count

    @property
    def is_sweep(self) -> bool:
        """Whether it has a sweep, be it of one row."""
        return self.sweep is not None

    def references(self) -> list[Dependency | JobOutput]:
        """Return what it refers to."""
        outputs = [source for source in self.inputs.values() if isinstance(source, JobOutput)]
        return [*self.depends_on, *outputs]

    def sources(self) -> Iterator[Source]:
        """Yield the files it needs, of all rows of its sweep."""
        for source in self.inputs.values():
            if not isinstance(source, JobOutput):
                yield source
        if self.sweep is not None:
            for axis in self.sweep.axes:
                if isinstance(axis, FileAxis):
                    yield from axis.sources

    def sources_at(self, sweep_index: int) -> list[Source]:
        """Return the files that one row of its sweep needs, each once."""
        found = [source for source in self.inputs.values() if not isinstance(source, JobOutput)]
        if self.sweep is not None:
            found += self.sweep.sources_at(sweep_index)
        return list(dict.fromkeys(found))

    def config(self, hashes: Mapping[pathlib.Path, str]) -> types_pb2.JobConfig:
        """Return what is sent, given the hashes of the local files."""
        config = types_pb2.JobConfig(
            method_name=self.method_name,
            config_id=self.config_id,
            parameters=self.parameters,
            timeout=self.timeout,
            resources=self.resources,
            function_hash=self.function_hash,
            priority=self.priority,
            cache_policy=policies.cache_sent(self.cache),
            depends_on=[dependency.sent() for dependency in self.depends_on],
            sweep=None if self.sweep is None else self.sweep.sent(hashes),
        )
        single = self.inputs.get(DEFAULT_INPUT)
        if len(self.inputs) == 1 and single is not None and not isinstance(single, JobOutput):
            config.file_hash = sweeps.hash_of(single, hashes)
            return config
        for name, source in self.inputs.items():
            if isinstance(source, JobOutput):
                config.inputs[name].job_output.CopyFrom(source.sent())
            else:
                config.inputs[name].file_hash = sweeps.hash_of(source, hashes)
        return config


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """All configs, in the order of the file: `jobs`, then `matrix`."""

    rows: tuple[Row, ...]
    display_name: str = ""
    request_id: str = ""
    priority: int | None = None
    cache: Cache | None = None
    resubmit: Resubmit | None = None
    max_failures: int | None = None
    max_inline_output_bytes: int | None = None
    """These five: None for the server's default."""
    cancel_on_disconnect: bool = False

    def options(self) -> types_pb2.BatchOptions:
        """Return the options that are sent."""
        return types_pb2.BatchOptions(
            request_id=self.request_id,
            priority=self.priority or 0,
            cache_policy=policies.cache_sent(self.cache),
            resubmit_policy=policies.resubmit_sent(self.resubmit),
            max_failures=self.max_failures or 0,
            max_inline_output_bytes=self.max_inline_output_bytes,
            cancel_on_disconnect=self.cancel_on_disconnect,
        )

    def paths(self) -> list[pathlib.Path]:
        """Return the local files that the batch needs, each once."""
        sources = (source for row in self.rows for source in row.sources())
        return list(dict.fromkeys(s for s in sources if isinstance(s, pathlib.Path)))


class Positions:
    """Which config, and which of its sweep, the rows of an answer stand for."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self._rows = rows
        self._ends = list(itertools.accumulate(row.count for row in rows))

    def at(self, index: int) -> tuple[Row, int] | None:
        """Return the config and the sweep_index of a row; None when there is no such row."""
        if not 0 <= index < (self._ends[-1] if self._ends else 0):
            return None
        number = bisect.bisect_right(self._ends, index)
        row = self._rows[number]
        return row, index - (self._ends[number] - row.count)
