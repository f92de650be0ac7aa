"""The fake sbatch: what it checks itself, what the controller checks, and the array it makes."""

import os
import pathlib
import pwd
import shutil
import time

from support import fake_slurm_jobs as jobs
from support import fake_slurm_settings as settings_
from support import fake_slurm_wire as wire
from support import fake_slurm_words as words_

_UNAVAILABLE = "Requested node configuration is not available"
_NO_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh\n"
)
_FORMS = (("mem", words_.megabytes), ("signal", words_.warning), ("time", words_.minutes))
_KEPT_WITHOUT_EXPORT = ("HOME", "PATH", "USER", "LOGNAME", "SHELL")


class RefusedError(Exception):
    """What sbatch prints."""


def failed(reason: str, *before: str) -> RefusedError:
    """The controller's word, after the lines before."""
    lines = [*before, f"Batch job submission failed: {reason}"]
    return RefusedError("".join(f"sbatch: error: {line}\n" for line in lines))


def check_by_itself(request: wire.Request, words: words_.Words) -> None:
    """What sbatch finds wrong without a controller. Raises WordsError or RefusedError."""
    options = words.options
    for name, form in _FORMS:
        if name in options:
            try:
                form(options[name])
            except ValueError:
                raise words_.WordsError(
                    f"sbatch: error: Invalid --{name} specification\n"
                ) from None
    if not words.rest:
        raise RefusedError("sbatch: error: no script\n")
    try:
        text = (request.folder / words.rest[0]).read_bytes()
    except OSError:
        raise RefusedError(f"sbatch: error: Unable to open file {words.rest[0]}\n") from None
    if not text:
        raise RefusedError("sbatch: error: Batch script is empty!\n")
    if not text.startswith(b"#!"):
        raise RefusedError(_NO_SCRIPT)


def array(
    job_id: int,
    request: wire.Request,
    words: words_.Words,
    settings: settings_.Settings,
    spool: pathlib.Path,
) -> jobs.Array:
    """What was submitted, with a copy of its script. Raises RefusedError."""
    options = words.options
    indexes, parallel = _indexes(options.get("array"), settings)
    if options.get("partition", settings.partition) != settings.partition:
        raise failed(
            "Invalid partition name specified",
            f"invalid partition specified: {options['partition']}",
        )
    folder = request.folder / options.get("chdir", ".")
    cpus = int(options.get("cpus-per-task", 1)) * int(options.get("ntasks", 1))
    is_array = indexes is not None
    script = spool / f"job{job_id:05}-{time.time_ns()}" / "slurm_script"
    script.parent.mkdir(parents=True)
    shutil.copyfile(request.folder / words.rest[0], script)
    script.chmod(0o700)
    found = jobs.Array(
        id=job_id,
        name=options.get("job-name", pathlib.Path(words.rest[0]).name),
        user=pwd.getpwuid(os.getuid()).pw_name,
        indexes=indexes,
        parallel=parallel,
        cpus=cpus,
        megabytes=_megabytes(options.get("mem"), cpus, settings),
        gpus=_gpus(options.get("gres", ""), settings),
        minutes=words_.minutes(options.get("time", "UNLIMITED")),
        nice=int(options.get("nice", "0") or 100),
        partition=settings.partition,
        submitted_at=time.time(),
        folder=folder,
        script=script,
        arguments=words.rest[1:],
        environment=_environment(options.get("export", "ALL"), request.environment),
        stdin=options.get("input", "/dev/null"),
        stdout=options.get("output", "slurm-%A_%a.out" if is_array else "slurm-%j.out"),
        stderr=options.get("error", ""),
        account=options.get("account", ""),
        qos=options.get("qos", ""),
        warning=words_.warning(options["signal"]) if "signal" in options else None,
    )
    _block(found, words, settings)
    return found


def check_room(found: jobs.Array, settings: settings_.Settings) -> None:
    """Whether a node could ever hold a task. Raises RefusedError; the array is kept as FAILED."""
    complaint = ""
    if found.cpus > settings.cpus and not found.is_blocked:
        complaint = "CPU count per node can not be satisfied"
    elif found.megabytes > settings.memory_megabytes:
        complaint = "Memory specification can not be satisfied"
    elif found.gpus > settings.gpus:
        raise_after = failed(_UNAVAILABLE)
        found.end_waiting("FAILED", "BadConstraints", time.time())
        raise raise_after
    if complaint:
        found.end_waiting("FAILED", "BadConstraints", time.time())
        raise failed(_UNAVAILABLE, complaint)


def _block(found: jobs.Array, words: words_.Words, settings: settings_.Settings) -> None:
    """What waits for ever, as Slurm lets it."""
    longest = settings.longest_minutes
    if "hold" in words.options:
        found.reason = "JobHeldUser"
    elif longest is not None and found.minutes is not None and found.minutes > longest:
        found.reason = "PartitionTimeLimit"
    elif found.cpus > settings.cpus * settings.nodes:
        found.reason = "PartitionConfig"
    found.is_blocked = found.reason != "None"


def _indexes(option: str | None, settings: settings_.Settings) -> tuple[list[int] | None, int]:
    if option is None:
        return None, 0
    try:
        indexes, parallel = words_.indexes(option)
    except ValueError:
        indexes, parallel = [settings.max_array_size], 0
    if indexes[-1] >= settings.max_array_size:
        raise failed("Invalid job array specification")
    return indexes, parallel


def _megabytes(option: str | None, cpus: int, settings: settings_.Settings) -> int:
    if option is None:
        return settings.default_megabytes * cpus
    # All of a node's.
    return words_.megabytes(option) or settings.memory_megabytes


def _gpus(option: str, settings: settings_.Settings) -> int:
    if not option:
        return 0
    name, *parts = option.split(":")
    if name != "gpu" or not settings.gpus:
        raise RefusedError("sbatch: error: Invalid generic resource (gres) specification\n")
    return int(parts[-1]) if parts else 1


def _environment(export: str, environment: dict[str, str]) -> dict[str, str]:
    if export == "ALL":
        return environment
    names = {*_KEPT_WITHOUT_EXPORT, *export.split(",")}
    return {name: value for name, value in environment.items() if name in names}
