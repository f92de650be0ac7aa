"""Fields this version of the contract does not know: refused by name, never ignored in silence.

See `docs/decisions/0007-unknown-fields-are-refused.md`.
"""

from google.protobuf import message, unknown_fields

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation


def unknown_field(asked: message.Message) -> str:
    """Say which field of a message itself (not of those inside) is unknown; empty for none."""
    unknown = unknown_fields.UnknownFieldSet(asked)
    if not len(unknown):
        return ""
    number = unknown[0].field_number
    return f"{asked.DESCRIPTOR.name} has no field {number} in this version of the service"


def refuse_unknown(field: str, asked: message.Message) -> None:
    """Raise InvalidRequestError for a message with an unknown field."""
    said = unknown_field(asked)
    if said:
        raise errors.InvalidRequestError(Violation(field=field, description=said))
