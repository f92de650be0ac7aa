"""The words for what may be answered from before, and for what is run again."""

import enum

from dshpc.cli import fields
from dshpc.cli.documents import Json
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
    return fields.word(place, value, Cache, prefix="cache_policy_")


def read_resubmit(place: str, value: Json) -> Resubmit:
    """Read a batch file's word: `never`, or the contract's `RESUBMIT_POLICY_NEVER`."""
    return fields.word(place, value, Resubmit, prefix="resubmit_policy_")
