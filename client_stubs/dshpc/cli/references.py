"""How jobs of a batch file refer to each other: what waits for what, and whose output is an input.

    depends_on: [clean]                                   # it has completed
    depends_on: [{job: clean, condition: failed}]         # or finished: ended in whatever way
    inputs: {table: {job: clean}}                         # the output of `clean`

A job is named by its config_id; one that is not of this batch by its job_id. Where a job has one
config for each file, its name stands for all of them.
"""

import dataclasses
import difflib
import enum
import graphlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from dshpc.cli import fields
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.v1 import types_pb2

_OUTPUT = frozenset({"job", "config_id", "job_id", "per_sweep_index"})
_DEPENDENCY = _OUTPUT | {"condition"}
_MOST_NAMED = 3


class Condition(enum.StrEnum):
    """How a job has to have ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FINISHED = "finished"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """Something that has to have ended first."""

    place: str
    job: str = ""
    job_id: str = ""
    condition: Condition | None = None
    """None: as the contract says, which is that it succeeded."""
    per_sweep_index: bool = False

    def sent(self) -> types_pb2.Dependency:
        """Return what is sent."""
        word = self.condition.name if self.condition else "UNSPECIFIED"
        sent = types_pb2.Dependency(
            condition=types_pb2.Condition.Value(f"CONDITION_{word}"),
            per_sweep_index=self.per_sweep_index,
        )
        if self.job:
            sent.config_id = self.job
        else:
            sent.job_id = self.job_id
        return sent


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobOutput:
    """An input that another job makes."""

    place: str
    job: str = ""
    job_id: str = ""
    per_sweep_index: bool = False

    def sent(self) -> types_pb2.JobOutputRef:
        """Return what is sent."""
        if self.job:
            return types_pb2.JobOutputRef(config_id=self.job, per_sweep_index=self.per_sweep_index)
        return types_pb2.JobOutputRef(job_id=self.job_id)


def read_depends_on(place: str, value: Json) -> tuple[Dependency, ...]:
    """Read what a job waits for: names, or mappings that say more."""
    if isinstance(value, str):
        return (Dependency(place=place, job=fields.text(place, value)),)
    return tuple(
        _dependency(f"{place}[{number}]", item)
        for number, item in enumerate(fields.items(place, value))
    )


def read_output(place: str, value: Mapping[str, Json]) -> JobOutput:
    """Read a reference to another job's output."""
    given = fields.members(place, dict(value), _OUTPUT)
    job, job_id = _upstream(place, given)
    per_sweep_index = _per_sweep_index(place, given)
    return JobOutput(place=place, job=job, job_id=job_id, per_sweep_index=per_sweep_index)


def _dependency(place: str, value: Json) -> Dependency:
    if isinstance(value, str):
        return Dependency(place=place, job=fields.text(place, value))
    given = fields.members(place, value, _DEPENDENCY)
    job, job_id = _upstream(place, given)
    condition = None
    if "condition" in given:
        condition = fields.word(
            f"{place}.condition", given["condition"], Condition, prefix="condition_"
        )
    per_sweep_index = _per_sweep_index(place, given)
    return Dependency(
        place=place,
        job=job,
        job_id=job_id,
        condition=condition,
        per_sweep_index=per_sweep_index,
    )


def _upstream(place: str, given: Mapping[str, Json]) -> tuple[str, str]:
    names = [name for name in ("job", "config_id", "job_id") if name in given]
    if not names:
        raise BatchFileError(place, "give 'job' (a config_id of this batch) or 'job_id'")
    if len(names) > 1:
        raise BatchFileError(f"{place}.{names[1]}", f"not together with '{names[0]}'")
    (name,) = names
    if name == "job_id":
        return "", fields.file_hash(f"{place}.job_id", given[name])
    return fields.text(f"{place}.{name}", given[name]), ""


def _per_sweep_index(place: str, given: Mapping[str, Json]) -> bool:
    return fields.boolean(f"{place}.per_sweep_index", given.get("per_sweep_index", False))


class Referring(Protocol):
    """A config that refers to others; `Row`, as far as it counts here."""

    @property
    def config_id(self) -> str:
        """Its name; empty when it has none."""

    @property
    def family(self) -> str:
        """The name of the job of which it is one of several."""

    @property
    def count(self) -> int:
        """How many rows it is."""

    @property
    def is_sweep(self) -> bool:
        """Whether it has a sweep."""


class Names:
    """What the names of a batch stand for."""

    def __init__(self, rows: Iterable[Referring]) -> None:
        self._rows: dict[str, Referring] = {}
        self._families: dict[str, list[str]] = {}
        for row in rows:
            if row.config_id:
                self._rows[row.config_id] = row
            if row.family:
                self._families.setdefault(row.family, []).append(row.config_id)

    def dependencies(self, row: Referring, given: Iterable[Dependency]) -> tuple[Dependency, ...]:
        """Return what a config waits for, each by a name that is sent."""
        found: list[Dependency] = []
        for dependency in given:
            if dependency.job_id:
                _refuse_index_of_a_job(dependency)
                found.append(dependency)
                continue
            for name in self._meant(dependency.job, dependency.place):
                self._check_sweeps(row, name, dependency)
                found.append(dataclasses.replace(dependency, job=name))
        return tuple(found)

    def output(self, row: Referring, given: JobOutput) -> JobOutput:
        """Return an input that another job makes, by a name that is sent."""
        if given.job_id:
            _refuse_index_of_a_job(given)
            return given
        names = self._meant(given.job, given.place)
        if len(names) > 1:
            few = ", ".join(names[:_MOST_NAMED])
            raise BatchFileError(
                given.place,
                f"'{given.job}' is {len(names)} jobs, and an input is the output of one: {few}"
                + (", …" if len(names) > _MOST_NAMED else ""),
            )
        (name,) = names
        self._check_sweeps(row, name, given)
        rows = self._rows[name].count
        if rows > 1 and not given.per_sweep_index:
            raise BatchFileError(
                given.place,
                f"'{name}' is a sweep of {rows} rows: per_sweep_index, and a sweep of as many "
                "rows, takes the output of each",
            )
        return dataclasses.replace(given, job=name)

    def _meant(self, name: str, place: str) -> Sequence[str]:
        if name in self._rows:
            return [name]
        if name in self._families:
            return self._families[name]
        known = [*self._families, *self._rows]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise BatchFileError(place, f"no job of this batch is called '{name}'{hint}")

    def _check_sweeps(self, row: Referring, name: str, reference: Dependency | JobOutput) -> None:
        upstream = self._rows[name]
        if not reference.per_sweep_index:
            return
        for one, said in ((upstream, f"'{name}'"), (row, "this job")):
            if not one.is_sweep:
                raise BatchFileError(
                    reference.place, f"per_sweep_index goes from sweep to sweep; {said} is none"
                )
        if upstream.count != row.count:
            raise BatchFileError(
                reference.place,
                f"per_sweep_index needs sweeps of as many rows: '{name}' has {upstream.count}, "
                f"this job has {row.count}",
            )


def check_order(waits: Mapping[str, Sequence[Dependency | JobOutput]]) -> None:
    """Refuse jobs that wait for each other; `waits` is what each named config refers to."""
    graph = {name: [r.job for r in references if r.job] for name, references in waits.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # Each waits for the next; the sorter tells them the other way round.
        circle: list[str] = error.args[1][::-1]
        place = next(r.place for r in waits[circle[0]] if r.job == circle[1])
        raise BatchFileError(place, f"jobs wait for each other: {' -> '.join(circle)}") from error


def _refuse_index_of_a_job(reference: Dependency | JobOutput) -> None:
    if reference.per_sweep_index:
        raise BatchFileError(reference.place, "per_sweep_index needs a job of this batch")
