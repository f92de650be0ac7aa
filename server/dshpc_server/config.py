"""Settings: every one is a flag, a TOML key and an environment variable `DSHPC_…`.

A flag counts before the environment, the environment before the file, the file before the default.
An unknown key in the file is an error; an unknown or empty variable does not count.
`docs/configuration.md` lists them; a test compares.
"""

import ipaddress
import os
import pathlib
import re
import shlex
import tomllib
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import psutil
import pydantic
import pydantic_core
import pydantic_settings

from dshpc_server import logs

MAX_PORT = 65_535
_MIB = 1024 * 1024
_DAY_SECONDS = 86_400.0
# What GetServerInfo can say, and gRPC can be told, of a count.
_MAX_COUNT = 2**31 - 1
_MAX_BYTES = 2**63 - 1
# Ten years: what a deadline can be reckoned with on every clock.
_MAX_SECONDS = 3650 * _DAY_SECONDS
_LOOPBACK_IPV4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_IPV6 = ipaddress.IPv6Address("::1")
REMOTE = (
    "it has no login and no encryption, so whoever reaches the port may run every method and read "
    "every file"
)
"""What an administrator has to know before others than this machine can reach a server."""


def _address(listen: str) -> str:
    """Refuse what is no HOST:PORT; a port out of range would silently become another one."""
    host, _, port = listen.rpartition(":")
    is_host = re.fullmatch(r"\[[0-9A-Fa-f:.%\w]+\]|[^:\s]+", host)
    if not is_host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT:
        raise pydantic_core.PydanticCustomError(
            "address", "must be HOST:PORT, as in 127.0.0.1:50051 or [::1]:50051"
        )
    return listen


def _store_url(store: str) -> str:
    """Refuse a bare `@` in a password: what follows it would be taken for the host, and told."""
    _, _, rest = store.partition("://")
    if rest.partition("?")[0].count("@") > 1:
        raise pydantic_core.PydanticCustomError(
            "store_url", "a second @ in the URL; in a name or a password it is written as %40"
        )
    return store


def _shell_words(options: str) -> str:
    """Refuse what cannot be split into words: a quote that is not closed."""
    try:
        shlex.split(options)
    except ValueError as error:
        raise pydantic_core.PydanticCustomError(
            "shell_words", "cannot be split into words: {reason}", {"reason": str(error)}
        ) from error
    return options


def is_loopback(listen: str) -> bool:
    """Whether an address is reached from this machine alone; of other host names nobody knows."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address == _LOOPBACK_IPV6 or address in _LOOPBACK_IPV4


Address = Annotated[str, pydantic.AfterValidator(_address)]
StoreUrl = Annotated[str, pydantic.AfterValidator(_store_url)]
ShellWords = Annotated[str, pydantic.AfterValidator(_shell_words)]
Positive = Annotated[int, pydantic.Field(gt=0, le=_MAX_COUNT)]
PositiveBytes = Annotated[int, pydantic.Field(gt=0, le=_MAX_BYTES)]
Bytes = Annotated[int, pydantic.Field(ge=0, le=_MAX_BYTES)]
# Renewed three times in its length, over a network, by a server that may be busy.
LeaseSeconds = Annotated[float, pydantic.Field(ge=1, le=3600, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, pydantic.Field(gt=0, le=_MAX_SECONDS, allow_inf_nan=False)]
Seconds = Annotated[float, pydantic.Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False)]


class Settings(pydantic_settings.BaseSettings):
    """What an administrator can set."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_prefix="DSHPC_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    listen: Address = pydantic.Field(
        default="127.0.0.1:50051",
        description="HOST:PORT to serve on; port 0 takes any free one",
    )
    allow_remote: bool = pydantic.Field(
        default=False,
        description="allow to listen beyond loopback, where whoever reaches the port may do all",
    )
    data_dir: pathlib.Path = pydantic.Field(
        default=pathlib.Path("data"),
        description="folder of everything the service remembers; created when absent",
    )
    methods_dir: pathlib.Path = pydantic.Field(
        default=pathlib.Path("methods"),
        description="folder of the installed methods (commands/ and scripts/)",
    )
    methods_reload_seconds: Seconds = pydantic.Field(
        default=60.0,
        description="how often methods_dir is read again; 0: only when SIGHUP asks for it",
    )
    store: StoreUrl = pydantic.Field(
        default="",
        description="URL of the store: postgresql://USER@HOST/DATABASE; empty: SQLite in data_dir",
    )
    lease_seconds: LeaseSeconds = pydantic.Field(
        default=15.0,
        description="how long a server on a shared store may be silent until others take its jobs",
    )
    engine: Literal["local", "slurm"] = pydantic.Field(
        default="local", description="what runs the jobs: this machine, or a Slurm cluster"
    )
    slots: Positive = pydantic.Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="processor cores that jobs may use at one time; default: this machine's",
    )
    memory_bytes: PositiveBytes = pydantic.Field(
        default_factory=lambda: psutil.virtual_memory().total * 8 // 10,
        description="memory that jobs may use at one time; default: 80 % of this machine's",
    )
    job_memory_bytes: int = pydantic.Field(
        default=0,
        ge=0,
        le=_MAX_BYTES,
        description="memory of a job that does not say; 0: a share per slot, or Slurm's default",
    )
    job_timeout_seconds: PositiveSeconds = pydantic.Field(
        default=_DAY_SECONDS, description="how long a job that does not say may run"
    )
    max_timeout_seconds: PositiveSeconds = pydantic.Field(
        default=30 * _DAY_SECONDS, description="longest timeout that a job may ask for"
    )
    max_retries: int = pydantic.Field(
        default=3,
        ge=0,
        le=100,
        description="retries in a row of a job that was lost, preempted, not started, or ended "
        "with code 75",
    )
    retry_first_seconds: Seconds = pydantic.Field(
        default=1.0, description="delay before the first retry; it doubles with each"
    )
    retry_last_seconds: Seconds = pydantic.Field(
        default=300.0, description="longest delay before a retry"
    )
    priority_ageing_seconds: PositiveSeconds = pydantic.Field(
        default=60.0,
        description="how long what waits starves until it counts as of one priority more",
    )
    slurm_partition: str = pydantic.Field(
        default="", description="partition that jobs go to; empty: the cluster's default"
    )
    slurm_account: str = pydantic.Field(
        default="", description="account that jobs are charged to; empty: the user's default"
    )
    slurm_qos: str = pydantic.Field(
        default="", description="quality of service of jobs; empty: the user's default"
    )
    slurm_options: ShellWords = pydantic.Field(
        default="", description="more options of sbatch, split into words as a shell does"
    )
    slurm_queued_jobs: Positive = pydantic.Field(
        default=10_000, description="most jobs that are in Slurm's queue at one time"
    )
    slurm_parallel: int = pydantic.Field(
        default=0,
        ge=0,
        le=_MAX_COUNT,
        description="most tasks of one array that run at one time; 0: no limit",
    )
    pack_below_seconds: Seconds = pydantic.Field(
        default=5.0,
        description="jobs expected to be shorter than this share tasks; 0: never",
    )
    pack_jobs: int = pydantic.Field(
        default=100, ge=1, le=1000, description="most jobs that share a task; 1: never"
    )
    max_jobs_per_request: Positive = pydantic.Field(
        default=100_000, description="rows in a request"
    )
    max_request_bytes: Positive = pydantic.Field(
        default=32 * _MIB, description="bytes of a request message"
    )
    max_parameters_bytes: Positive = pydantic.Field(
        default=_MIB, description="bytes of one row's parameters as canonical JSON"
    )
    max_parameters_nodes: Positive = pydantic.Field(
        default=10_000, description="values in one row's parameters"
    )
    max_parameters_depth: int = pydantic.Field(
        default=16, gt=0, le=30, description="nesting of one row's parameters"
    )
    inline_output_bytes: int = pydantic.Field(
        default=65_536, ge=0, le=_MIB, description="longest output that is answered inline"
    )
    max_file_bytes: PositiveBytes = pydantic.Field(
        default=1 << 40, description="bytes of one uploaded file"
    )
    upload_expiry_seconds: PositiveSeconds = pydantic.Field(
        default=_DAY_SECONDS, description="how long what came of an upload that was cut is kept"
    )
    max_attempts: Positive = pydantic.Field(
        default=5,
        description="failed attempts of a job within 24 hours, after which it is not run again",
    )
    min_free_bytes: Bytes = pydantic.Field(
        default=256 * _MIB,
        description="free bytes on the disk below which no job starts and no upload is taken",
    )
    max_content_bytes: Bytes = pydantic.Field(
        default=0,
        description="bytes of stored content over which the longest unused goes; 0: no limit",
    )
    file_retention_seconds: Seconds = pydantic.Field(
        default=0.0, description="how long unused content is kept; 0: for ever"
    )
    attempt_retention_seconds: Seconds = pydantic.Field(
        default=0.0, description="how long logs of ended attempts are kept; 0: for ever"
    )
    max_calls: Positive = pydantic.Field(default=1000, description="unary calls at one time")
    max_streams: Positive = pydantic.Field(default=1000, description="server streams at one time")
    max_uploads: Positive = pydantic.Field(default=64, description="uploads at one time")
    max_wait_seconds: PositiveSeconds = pydantic.Field(
        default=3600.0, description="longest wait of a unary call"
    )
    write_stall_seconds: PositiveSeconds = pydantic.Field(
        default=30.0, description="how long a client may not read before its stream is ended"
    )
    upload_stall_seconds: PositiveSeconds = pydantic.Field(
        default=60.0, description="how long a client may send nothing before its upload is ended"
    )
    disconnect_grace_seconds: Seconds = pydantic.Field(
        default=30.0,
        description="how long a batch with cancel_on_disconnect waits for its client to come back",
    )
    stop_grace_seconds: Seconds = pydantic.Field(
        default=1.0, description="how long open calls may go on after a stop is asked for"
    )
    log_level: Literal["debug", "info", "warning", "error"] = pydantic.Field(
        default="info", description="least severe lines that are logged"
    )
    log_format: logs.Format = pydantic.Field(
        default="auto", description="json, console, or auto: console on a terminal"
    )
    crash_at: str = pydantic.Field(
        default="",
        description="for tests of recovery: POINT:N, where the server is to kill itself",
    )

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.engine == "local" and self.job_memory_bytes > self.memory_bytes:
            raise ValueError("job_memory_bytes is over memory_bytes: no job would ever fit")
        if self.retry_first_seconds > self.retry_last_seconds:
            raise ValueError("retry_first_seconds is over retry_last_seconds, the longest delay")
        if not (self.allow_remote or is_loopback(self.listen)):
            raise ValueError(
                f"listen: {self.listen} lets other machines reach this server, and {REMOTE}; "
                "--allow-remote (allow_remote = true) allows it"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],
        init_settings: pydantic_settings.PydanticBaseSettingsSource,
        env_settings: pydantic_settings.PydanticBaseSettingsSource,
        dotenv_settings: pydantic_settings.PydanticBaseSettingsSource,
        file_secret_settings: pydantic_settings.PydanticBaseSettingsSource,
    ) -> tuple[pydantic_settings.PydanticBaseSettingsSource, ...]:
        """Flags (handed in), environment, file."""
        del dotenv_settings, file_secret_settings
        file = pydantic_settings.TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, file


def load(file: pathlib.Path | None, flags: Mapping[str, object]) -> Settings:
    """Read the settings; flags that are None were not given.

    Raises ConfigError naming the file that cannot be read, or every setting that is wrong.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    _check_file(file)
    source = type(
        "Settings",
        (Settings,),
        {"model_config": pydantic_settings.SettingsConfigDict(toml_file=file)},
    )
    try:
        settings: Settings = source(**given)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(map(_wrong, error.errors()))) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    return settings


class ConfigError(Exception):
    """The settings cannot be used; the message names them."""


def _check_file(file: pathlib.Path | None) -> None:
    # Pydantic takes a file that is not there for an empty one.
    try:
        found = file is None or file.is_file()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    if not found:
        raise ConfigError(f"{file}: no such file")


def _wrong(error: pydantic_core.ErrorDetails) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # what is wrong is how settings go together
        return said
    name = ".".join(map(str, error["loc"]))
    return f"{name}: {'no such setting' if error['type'] == 'extra_forbidden' else said}"
