"""From a claimed attempt to what an engine needs to start it."""

import asyncio
import pathlib
from collections.abc import Collection, Mapping, Sequence

from dshpc_server import errors
from dshpc_server.batches import content, run_times
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port as engine
from dshpc_server.methods import catalog
from dshpc_server.store import records

_RETRY_SECONDS = 1.0


class NotLaunchableError(errors.DshpcError):
    """The attempt cannot be started: its method's version, an input or the room for it is gone."""


class Launcher:
    """Finds an attempt's method, inputs and folder."""

    def __init__(
        self,
        *,
        catalog: catalog.Catalog,
        library: content.Library,
        run_times: run_times.RunTimes,
        attempts_dir: pathlib.Path,
    ) -> None:
        self._run_times = run_times
        self._catalog = catalog
        self._library = library
        self._attempts_dir = attempts_dir
        self._looked: Mapping[str, pathlib.Path | errors.NoAnswerError | None] = {}
        """What was seen of the inputs of those who are launched next."""

    def folder(self, key: AttemptKey) -> pathlib.Path:
        """The attempt's own directory; two levels keep the folders small."""
        return self._attempts_dir.joinpath(key.job_id[:2], key.job_id, str(key.number))

    async def look(self, claims: Sequence[records.Claim]) -> None:
        """Look for the inputs of these on disk; `launch` goes by it.

        A hop to a thread costs thirty times as much as the look itself, so they share one; but on
        the event loop a disk that hangs would hold up everybody.
        """
        hashes = {file_hash for claim in claims for file_hash in claim.spec.inputs.values()}
        self._looked = await asyncio.to_thread(self._find_all, hashes) if hashes else {}

    async def launch(self, claim: records.Claim) -> engine.Launch:
        """Put the launch together; raises NotLaunchableError, or UnavailableError: later.

        NoAnswerError when it is its own method or input that the disk does not tell of.
        """
        spec = claim.spec
        version = self._catalog.version(spec.method_name, spec.function_hash)
        if version is None:  # another server may have loaded it just now
            version = await asyncio.to_thread(
                self._catalog.find, spec.method_name, spec.function_hash
            )
        if version is None:
            raise NotLaunchableError(
                f"method '{spec.method_name}' {spec.function_hash} is not installed any more"
            )
        if spec.inputs.keys() != set(version.inputs):
            raise NotLaunchableError(
                f"method '{spec.method_name}' is installed anew with other inputs"
            )
        inputs = {}
        for name in version.inputs:
            path = await self._path(spec.inputs[name])
            if path is None:
                raise NotLaunchableError(f"input '{name}' {spec.inputs[name]} is not stored")
            inputs[name] = path
        return engine.Launch(
            key=claim.key,
            folder=self.folder(claim.key),
            command=version.command,
            script=version.directory / version.script_path,
            method_dir=version.directory,
            method_name=spec.method_name,
            inputs=inputs,
            parameters_json=spec.parameters_json,
            resources=claim.resources,
            timeout_seconds=claim.timeout_seconds,
            run_time=self._run_times.expected(version),
            priority=claim.priority,
        )

    def is_run_time_declared(self, claim: records.Claim) -> bool:
        """Whether its method says how long it takes, or is not known here. In any thread."""
        version = self._catalog.version(claim.spec.method_name, claim.spec.function_hash)
        return version is None or version.expected_seconds is not None

    def _find_all(
        self, hashes: Collection[str]
    ) -> dict[str, pathlib.Path | errors.NoAnswerError | None]:
        found: dict[str, pathlib.Path | errors.NoAnswerError | None] = {}
        for file_hash in hashes:
            try:
                found[file_hash] = self._library.find(file_hash)
            except errors.NoAnswerError as error:
                found[file_hash] = error
        return found

    async def _path(self, file_hash: str) -> pathlib.Path | None:
        looked = self._looked.get(file_hash)
        if isinstance(looked, errors.NoAnswerError):
            raise looked
        if looked is not None:
            return looked
        try:
            return await self._library.path(file_hash)
        except OSError as error:  # of no descriptor that is free, say; no fault of the attempt
            raise errors.UnavailableError(
                f"an input cannot be written now: {error.strerror}",
                retry_after_seconds=_RETRY_SECONDS,
            ) from error
