"""What a batch file asks for: configs whose files are still local. Pure values."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf import duration_pb2, struct_pb2

from dshpc.cli import policies
from dshpc.cli.policies import Cache, Resubmit
from dshpc.v1 import types_pb2

Source: TypeAlias = pathlib.Path | str
"""A local file, or the hash of content that the server has."""

DEFAULT_INPUT = "input"
"""The input that `file_hash` of a config stands for."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One config of the batch, its files still local."""

    method_name: str
    config_id: str = ""
    inputs: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    parameters: struct_pb2.Struct | None = None
    timeout: duration_pb2.Duration | None = None
    resources: types_pb2.Resources | None = None
    function_hash: str = ""
    cache: Cache | None = None
    """None: as the batch says."""

    def config(self, hashes: Mapping[pathlib.Path, str]) -> types_pb2.JobConfig:
        """Return what is sent, given the hashes of the local files."""
        resolved = {
            name: hashes[source] if isinstance(source, pathlib.Path) else source
            for name, source in self.inputs.items()
        }
        config = types_pb2.JobConfig(
            method_name=self.method_name,
            config_id=self.config_id,
            parameters=self.parameters,
            timeout=self.timeout,
            resources=self.resources,
            function_hash=self.function_hash,
            cache_policy=policies.cache_sent(self.cache),
        )
        if resolved.keys() == {DEFAULT_INPUT}:
            config.file_hash = resolved[DEFAULT_INPUT]
        else:
            for name, file_hash in resolved.items():
                config.inputs[name].file_hash = file_hash
        return config


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """All rows, in the order of the file: `jobs`, then `matrix`."""

    rows: tuple[Row, ...]
    display_name: str = ""
    cache: Cache | None = None
    resubmit: Resubmit | None = None
    max_inline_output_bytes: int | None = None
    """These three: None for the server's default."""

    def options(self) -> types_pb2.BatchOptions:
        """Return the options that are sent."""
        return types_pb2.BatchOptions(
            cache_policy=policies.cache_sent(self.cache),
            resubmit_policy=policies.resubmit_sent(self.resubmit),
            max_inline_output_bytes=self.max_inline_output_bytes,
        )

    def paths(self) -> list[pathlib.Path]:
        """Return the local files that the batch needs, each once."""
        sources = (source for row in self.rows for source in row.inputs.values())
        return list(dict.fromkeys(s for s in sources if isinstance(s, pathlib.Path)))
