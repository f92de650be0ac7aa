"""What the contract has and this server does not serve yet: it is refused, not ignored."""

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.domain.rejection import Violation

OPTIONS = ("request_id", "max_failures", "cancel_on_disconnect")
CONFIG = ("depends_on",)


def refuse_options(options: types_pb2.BatchOptions) -> None:
    """Refuse options that would have no effect. Raises InvalidRequestError."""
    for field, _ in options.ListFields():
        if field.name in OPTIONS:
            raise refusal(f"options.{field.name}")


def refuse_config(index: int, config: types_pb2.JobConfig) -> None:
    """Refuse what would have no effect in a config. Raises InvalidRequestError."""
    for field, _ in config.ListFields():
        if field.name in CONFIG:
            raise refusal(f"jobs[{index}].{field.name}")
    for name, source in config.inputs.items():
        if source.HasField("job_output"):
            raise refusal(f"jobs[{index}].inputs.{name}.job_output")


def refusal(field: str) -> errors.InvalidRequestError:
    """Return the error for one field."""
    return errors.InvalidRequestError(
        Violation(field=field, description="is not supported by this server yet")
    )
