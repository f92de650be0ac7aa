"""The words for what may be answered from before, and for what is run again."""

import enum

from dshpc.cli import fields
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.v1 import types_pb2


class Cache(enum.StrEnum):
    """Whether an earlier result may be the answer."""

    USE = "use"
    REFRESH = "refresh"
    BYPASS = "bypass"
    ONLY = "only"


class Resubmit(enum.StrEnum):
    """What happens to a job that failed before."""

    ALWAYS = "always"
    RETRIABLE = "retriable"
    NEVER = "never"


def cache_sent(word: Cache | None) -> types_pb2.CachePolicy.ValueType:
    """Return the contract's value; nothing said stays so."""
    return types_pb2.CachePolicy.Value(f"CACHE_POLICY_{word.name if word else 'UNSPECIFIED'}")


def resubmit_sent(word: Resubmit | None) -> types_pb2.ResubmitPolicy.ValueType:
    """Return the contract's value; nothing said stays so."""
    return types_pb2.ResubmitPolicy.Value(f"RESUBMIT_POLICY_{word.name if word else 'UNSPECIFIED'}")


def read_cache(place: str, value: Json) -> Cache:
    """Read a batch file's word: `refresh`, or the contract's `CACHE_POLICY_REFRESH`."""
    word = fields.text(place, value).lower().removeprefix("cache_policy_")
    try:
        return Cache(word)
    except ValueError:
        raise BatchFileError(place, f"must be one of {', '.join(Cache)}") from None


def read_resubmit(place: str, value: Json) -> Resubmit:
    """Read a batch file's word: `never`, or the contract's `RESUBMIT_POLICY_NEVER`."""
    word = fields.text(place, value).lower().removeprefix("resubmit_policy_")
    try:
        return Resubmit(word)
    except ValueError:
        raise BatchFileError(place, f"must be one of {', '.join(Resubmit)}") from None
