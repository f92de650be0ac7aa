"""Reading a batch file: what is to be run, over which local files.

    display_name: two methods over some tables
    files: {clinic: data/2024/clinic.csv}
    jobs:
      - {config_id: lines, method: count_lines, file: clinic}
      - {config_id: clean, method: drop_gaps, file: "data/*.csv"}
      - config_id: bins
        method: column_stats
        inputs: {table: {job: clean/clinic.csv}}
        depends_on: [lines]
        sweep: {axes: {bins: [5, 10], alpha: {start: 0, stop: 1, count: 11}}}
    matrix:
      - {method: column_stats, files: [clinic, "*.csv"], parameters: [{bins: 5}, {bins: 10}]}

A job with a pattern is one config for each file, named CONFIG_ID/FILE_NAME (without a config_id
METHOD/FILE_NAME). A matrix is every file with every one of its parameters, in that order; its rows
are named METHOD/FILE_STEM/NUMBER. `files` gives names to paths, which are relative to the batch
file. Sweeps are in `sweeps`, references between jobs in `references`.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf import duration_pb2

from dshpc.cli import (
    batch_options,
    documents,
    fields,
    local_files,
    naming,
    places,
    policies,
    references,
    sweeps,
)
from dshpc.cli.batch import DEFAULT_INPUT, Batch, InputSource, Row
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.cli.naming import Naming
from dshpc.cli.references import JobOutput
from dshpc.cli.sweeps import FileAxis, Source
from dshpc.v1 import types_pb2

_BATCH = batch_options.KNOWN | {"files", "jobs", "matrix", "options"}
_NEEDS = frozenset(
    {
        *("method", "function_hash", "parameters", "timeout", "resources"),
        *("priority", "cache", "depends_on"),
    }
)
JOB = _NEEDS | {"config_id", "file", "file_hash", "inputs", "sweep"}
MATRIX = _NEEDS | {"files"}
_RESOURCES = frozenset({"cpus", "memory", "gpus"})
_OF_A_JOB = frozenset({"job", "config_id", "job_id", "job_output"})


def read(name: str) -> Batch:
    """Read a batch file, or stdin for `-`.

    Raises BatchFileError, which names the file, the line and column, and the place.
    """
    if name == "-":
        shown, folder = "stdin", pathlib.Path()
        content = sys.stdin.buffer.read()
    else:
        shown, folder = name, pathlib.Path(name).parent
        try:
            content = pathlib.Path(name).read_bytes()
        except OSError as error:
            raise BatchFileError(shown, error.strerror or "cannot be read") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BatchFileError(shown, "is not UTF-8 text") from error
    try:
        return parse(text, folder=folder, is_json=name.endswith(".json"))
    except BatchFileError as error:
        raise BatchFileError("", _in_file(shown, str(error))) from error


def parse(text: str, *, folder: pathlib.Path, is_json: bool = False) -> Batch:
    """Read a batch file's text. Raises BatchFileError, which names line, column and place."""
    try:
        document = documents.load(text, is_json=is_json)
    except documents.DocumentError as error:
        raise BatchFileError("", str(error)) from error
    try:
        return _batch(document, folder)
    except BatchFileError as error:
        raise BatchFileError(places.position(text, error.place), str(error)) from error


def _in_file(name: str, problem: str) -> str:
    """Return a problem with its file; one that has a line as compilers write it."""
    return f"{name}:{problem}" if problem[:1].isdigit() else f"{name}: {problem}"


def _batch(document: Json, folder: pathlib.Path) -> Batch:
    top = fields.members("", document, _BATCH)
    if not top.keys() & {"jobs", "matrix"}:
        raise BatchFileError("", "nothing to run: give 'jobs' or 'matrix'")
    rows = naming.named(_Reader(folder, top).rows())
    return batch_options.read(top, rows=_referring(rows))


def _referring(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Check what rows refer to, and name it as it is sent."""
    if not any(row.references() for row in rows):
        return rows
    names = references.Names(rows)
    found = tuple(
        dataclasses.replace(
            row,
            depends_on=names.dependencies(row, row.depends_on),
            inputs={
                name: names.output(row, source) if isinstance(source, JobOutput) else source
                for name, source in row.inputs.items()
            },
        )
        for row in rows
    )
    references.check_order({row.config_id: row.references() for row in found if row.config_id})
    return found


class _Reader:
    """Reads rows."""

    def __init__(self, folder: pathlib.Path, top: Mapping[str, Json]) -> None:
        self._top = top
        self._files = local_files.LocalFiles(folder, top.get("files", {}))

    def rows(self) -> Iterator[tuple[Naming, Row]]:
        """Yield each row, and where its name comes from."""
        readers: dict[str, Callable[[str, Json], Iterator[tuple[Naming, Row]]]] = {
            "jobs": self._job,
            "matrix": self._matrix,
        }
        for name, read_item in readers.items():
            if name in self._top:
                for number, item in enumerate(fields.items(name, self._top[name])):
                    yield from read_item(f"{name}[{number}]", item)

    def _job(self, place: str, value: Json) -> Iterator[tuple[Naming, Row]]:
        job = fields.members(place, value, JOB)
        row = _needs(place, job)
        if "config_id" in job:
            config_id = fields.text(f"{place}.config_id", job["config_id"])
            row = dataclasses.replace(row, config_id=config_id)
        if "parameters" in job:
            parameters = fields.parameters(f"{place}.parameters", job["parameters"])
            row = dataclasses.replace(row, parameters=parameters)
        if "sweep" in job:
            sweep = sweeps.read(f"{place}.sweep", job["sweep"], self._files.sources)
            row = dataclasses.replace(row, sweep=sweep)
        _check_inputs(place, job, row)
        name = job.get("file")
        if isinstance(name, str) and self._files.is_pattern(name):
            yield from self._job_for_each_file(row, self._files.matches(f"{place}.file", name))
            return
        inputs = self._inputs(place, job)
        yield Naming.GIVEN, dataclasses.replace(row, inputs=inputs)

    def _job_for_each_file(self, row: Row, found: "list[Source]") -> Iterator[tuple[Naming, Row]]:
        base = row.config_id or row.method_name
        for source in found:
            file_name = local_files.short_name(source, with_suffix=True)
            yield (
                Naming.DISTINCT,
                dataclasses.replace(
                    row,
                    config_id=f"{base}/{file_name}",
                    family=row.config_id,
                    inputs={DEFAULT_INPUT: source},
                ),
            )

    def _inputs(self, place: str, job: Mapping[str, Json]) -> dict[str, InputSource]:
        if "file" in job:
            return {DEFAULT_INPUT: self._files.source(f"{place}.file", job["file"])}
        if "file_hash" in job:
            return {DEFAULT_INPUT: fields.file_hash(f"{place}.file_hash", job["file_hash"])}
        inputs = job.get("inputs", {})
        if not isinstance(inputs, dict):
            raise BatchFileError(f"{place}.inputs", "must be a mapping of names to files")
        return {
            name: self._input(f"{place}.inputs.{name}", source) for name, source in inputs.items()
        }

    def _input(self, place: str, value: Json) -> InputSource:
        if not isinstance(value, dict):
            return self._files.source(place, value)
        if not {fields.own_name(key) for key in value} & _OF_A_JOB:
            return self._files.source(place, value)
        wire = fields.members(place, value, _OF_A_JOB | {"per_sweep_index"})
        if "job_output" not in wire:
            return references.read_output(place, value)
        if len(wire) > 1:
            raise BatchFileError(place, "'job_output' stands alone")
        inner = f"{place}.job_output"
        return references.read_output(inner, fields.mapping(inner, wire["job_output"]))

    def _matrix(self, place: str, value: Json) -> Iterator[tuple[Naming, Row]]:
        matrix = fields.members(place, value, MATRIX)
        needs = _needs(place, matrix)
        sets = fields.items(f"{place}.parameters", matrix.get("parameters", [{}]))
        structs = [
            fields.parameters(f"{place}.parameters[{number}]", parameters)
            for number, parameters in enumerate(sets)
        ]
        for source in self._matrix_files(place, matrix):
            name, inputs = needs.method_name, {}
            if source is not None:
                name = f"{name}/{local_files.short_name(source, with_suffix=False)}"
                inputs = {DEFAULT_INPUT: source}
            for struct in structs:
                row = dataclasses.replace(needs, config_id=name, inputs=inputs, parameters=struct)
                yield Naming.NUMBERED, row

    def _matrix_files(self, place: str, matrix: Mapping[str, Json]) -> "list[Source | None]":
        if "files" not in matrix:
            return [None]
        items = fields.items(f"{place}.files", matrix["files"])
        return list(self._files.sources(f"{place}.files", items))


def _check_inputs(place: str, job: Mapping[str, Json], row: Row) -> None:
    """Refuse two things that are the input file."""
    given = [name for name in ("file", "file_hash", "inputs") if name in job]
    if len(given) > 1:
        raise BatchFileError(f"{place}.{given[1]}", f"not together with '{given[0]}'")
    axes = () if row.sweep is None else row.sweep.axes
    if given and any(isinstance(axis, FileAxis) for axis in axes):
        raise BatchFileError(
            f"{place}.{given[0]}", "not together with a sweep over files, which is the input"
        )


def _needs(place: str, members: Mapping[str, Json]) -> Row:
    """Read what jobs and matrices share."""
    if "method" not in members:
        raise BatchFileError(place, "'method' is missing")
    timeout = None
    if "timeout" in members:
        timeout = duration_pb2.Duration()
        seconds = fields.seconds(f"{place}.timeout", members["timeout"])
        timeout.FromNanoseconds(round(seconds * 1e9))
    row = Row(
        method_name=fields.text(f"{place}.method", members["method"]),
        place=place,
        timeout=timeout,
        resources=_resources(f"{place}.resources", members.get("resources")),
    )
    for name, read_field in _READ.items():
        if name in members:
            found = {name: read_field(f"{place}.{name}", members[name])}
            row = dataclasses.replace(row, **found)
    return row


def _resources(place: str, value: Json) -> types_pb2.Resources | None:
    if value is None:
        return None
    given = fields.members(place, value, _RESOURCES)
    return types_pb2.Resources(
        cpus=fields.count(f"{place}.cpus", given.get("cpus", 0)),
        memory_bytes=fields.size_bytes(f"{place}.memory", given.get("memory", 0)),
        gpus=fields.count(f"{place}.gpus", given.get("gpus", 0)),
    )


_READ: dict[str, Callable[[str, Json], Any]] = {
    "function_hash": fields.file_hash,
    "priority": batch_options.priority,
    "cache": policies.read_cache,
    "depends_on": references.read_depends_on,
}
"""How the small fields that jobs and matrices share are read; names are those of `Row`."""
