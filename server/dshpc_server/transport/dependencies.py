"""Dependencies at the edge: what the configs of a request say they come after.

Promise: what cannot be followed refuses the whole request, by the name of its field, before a row
of it is made; that a job is known is looked at when the request is resolved.
"""

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf import message

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import dependencies, identity
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import known

_CONDITIONS = {
    types_pb2.CONDITION_UNSPECIFIED: Condition.SUCCEEDED,
    **{types_pb2.Condition.Value(f"CONDITION_{each}"): each for each in Condition},
}
_MAX_SHOWN_CHARACTERS = 80
_MAX_INPUT_NAME_CHARACTERS = 64
"""Of a name in a path."""


class Dependencies:
    """What each row of a request waits for."""

    def __init__(self, configs: Sequence[types_pb2.JobConfig], rows: Sequence[range]) -> None:
        """`rows` are the indexes of each config's rows.

        Raises InvalidRequestError or LimitExceededError.
        """
        self._configs = configs
        self._read: dict[int, Sequence[_Said]] = {}
        for index, config in enumerate(configs):
            if said := list(_said(index, config)):
                self._read[index] = said
        if not self._read:
            return
        linked = [
            dependencies.Config(
                config_id=config.config_id,
                rows=rows[index],
                references=[said.reference for said in self._read.get(index, ()) if said.reference],
            )
            for index, config in enumerate(configs)
        ]
        problems = dependencies.problems(linked)
        if problems:
            raise errors.InvalidRequestError(
                *(
                    Violation(
                        field=f"jobs[{each.config_index}].{each.field}",
                        description=each.description,
                    )
                    for each in problems
                )
            )
        links = dependencies.count_links(linked)
        if links > dependencies.MAX_LINKS:
            raise errors.LimitExceededError(
                "max_dependencies_per_request", maximum=dependencies.MAX_LINKS, actual=links
            )
        self._rows = {each.config_id: each.rows for each in linked if each.config_id}

    @property
    def jobs(self) -> Mapping[str, str]:
        """The known jobs that are waited for, and where each is spoken of first."""
        jobs: dict[str, str] = {}
        for said in (each for of_config in self._read.values() for each in of_config):
            if said.reference is None:
                jobs.setdefault(said.job_id, said.field)
        return jobs

    def of(self, config_index: int, sweep_index: int) -> Sequence[request.Upstream]:
        """Return what a row waits for: the row of a config at this place, from 0."""
        return [self._upstream(said, sweep_index) for said in self._read.get(config_index, ())]

    def _upstream(self, said: "_Said", sweep_index: int) -> request.Upstream:
        reference = said.reference
        if reference is None:
            return request.Upstream(
                job_id=said.job_id,
                condition=said.condition,
                input_name=said.input_name,
                name=f"job '{said.job_id}'",
                field=said.field,
            )
        name = f"config '{reference.config_id}'"
        if reference.per_sweep_index:
            name += f"[{sweep_index}]"
        return request.Upstream(
            rows=dependencies.upstream_rows(
                reference, sweep_index, self._rows[reference.config_id]
            ),
            condition=said.condition,
            input_name=said.input_name,
            name=name,
            field=said.field,
        )


class _Said:
    """One thing that a config says it comes after."""

    def __init__(
        self,
        path: str,
        field: str,
        asked: types_pb2.Dependency | types_pb2.JobOutputRef,
        *,
        condition: Condition,
        input_name: str = "",
    ) -> None:
        self.field = f"{path}.{field}"
        self.condition = condition
        self.input_name = input_name
        self.job_id = asked.job_id
        self.reference: dependencies.Reference | None = None
        """Given if and only if it is another config of the request."""
        _refuse_unknown(self.field, asked)
        if asked.config_id:
            self.reference = dependencies.Reference(
                config_id=asked.config_id,
                condition=condition,
                per_sweep_index=asked.per_sweep_index,
                input_name=input_name,
                field=field,
            )
        elif not asked.job_id:
            raise _invalid(self.field, "names neither a config_id nor a job_id")
        elif not identity.is_hash(asked.job_id):
            shown = asked.job_id[:_MAX_SHOWN_CHARACTERS]
            raise _invalid(f"{self.field}.job_id", f"'{shown}' is not a job_id")
        elif asked.per_sweep_index:
            raise _invalid(f"{self.field}.per_sweep_index", "only with config_id")


def _said(index: int, config: types_pb2.JobConfig) -> Iterator[_Said]:
    path = f"jobs[{index}]"
    for place, asked in enumerate(config.depends_on):
        field = f"depends_on[{place}]"
        if asked.condition not in _CONDITIONS:
            raise _invalid(
                f"{path}.{field}.condition", f"{asked.condition} is not a value of Condition"
            )
        yield _Said(path, field, asked, condition=_CONDITIONS[asked.condition])
    for name in sorted(config.inputs):
        source = config.inputs[name]
        if source.HasField("job_output"):
            yield _Said(
                path,
                f"inputs.{name[:_MAX_INPUT_NAME_CHARACTERS]}.job_output",
                source.job_output,
                condition=Condition.SUCCEEDED,
                input_name=name,
            )


def _refuse_unknown(field: str, asked: message.Message) -> None:
    if said := known.unknown_field(asked):
        raise _invalid(field, said)


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
