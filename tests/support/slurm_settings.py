"""The configuration files of a Slurm cluster for tests: all its nodes are this one machine.

Promise: nothing listens beyond the loopback interface, and nodes have as many processors and as
much memory as they are said to have, whatever the machine has.
"""

import dataclasses
import pathlib
import socket

CLUSTER_NAME = "dshpctest"
PARTITION = "main"
_CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
AllowedSwapSpace=0
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a cluster is like, and where its things are."""

    folder: pathlib.Path
    controller_port: int
    accounting_port: int
    node_ports: dict[str, int]
    """Of each node, by its name."""
    cpus: int
    """Of each node; so of memory and GPUs."""
    memory_mb: int
    gpus: int
    has_cgroups: bool
    has_accounting: bool
    extra: str
    """Further lines; one whose setting is here already takes its place."""

    @property
    def slurm_conf(self) -> pathlib.Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> pathlib.Path:
        return self.folder / "munge.sock"

    @property
    def database_socket(self) -> pathlib.Path:
        return self.folder / "mysql.sock"

    def log(self, daemon: str) -> pathlib.Path:
        """Where a daemon writes what it has to say."""
        return self.folder / "log" / f"{daemon}.log"


def write(settings: Settings) -> None:
    """Write the files that Slurm reads."""
    lines = [f"{key}={value}" for key, value in _slurm_conf(settings).items()]
    settings.slurm_conf.write_text("\n".join([*lines, *_nodes(settings), ""]))
    if settings.has_cgroups:
        (settings.folder / "cgroup.conf").write_text(_CGROUP_CONF)
    if settings.gpus:
        (settings.folder / "gres.conf").write_text(_gpus(settings))
    if settings.has_accounting:
        path = settings.folder / "slurmdbd.conf"
        path.write_text("".join(f"{key}={value}\n" for key, value in _slurmdbd(settings).items()))
        path.chmod(0o600)


def _gpus(settings: Settings) -> str:
    """Make files that stand for GPUs: each has to exist, and nobody looks what it is."""
    files = [settings.folder / f"gpu{number}" for number in range(settings.gpus)]
    for file in files:
        file.touch()
    names = ",".join(map(str, files))
    return "".join(f"NodeName={node} Name=gpu File={names}\n" for node in settings.node_ports)


def _slurm_conf(settings: Settings) -> dict[str, str]:
    """What slurm.conf says of the whole cluster."""
    folder = settings.folder
    lines = {
        "ClusterName": CLUSTER_NAME,
        "SlurmctldHost": f"{_host()}(127.0.0.1)",
        "SlurmctldPort": str(settings.controller_port),
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={settings.munge_socket}",
        "CredType": "cred/munge",
        "StateSaveLocation": str(folder / "state"),
        "SlurmctldPidFile": str(folder / "slurmctld.pid"),
        "SlurmctldLogFile": str(settings.log("slurmctld")),
        "SlurmdSpoolDir": str(folder / "spool" / "%n"),
        "SlurmdPidFile": str(folder / "slurmd-%n.pid"),
        "SlurmdLogFile": str(settings.log("slurmd-%n")),
        "SlurmctldDebug": "info",
        "SlurmdDebug": "error",
        "SlurmdParameters": "config_overrides",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "PropagateResourceLimits": "NONE",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": "16",
        "PriorityType": "priority/basic",
        "PreemptMode": "OFF",
        **_patience(),
        **_scheduling(),
        **_watching(settings),
        **_accounting(settings),
    }
    if settings.gpus:
        lines["GresTypes"] = "gpu"
    return _overridden(lines, settings.extra)


def _patience() -> dict[str, str]:
    """How long the daemons wait for each other, and keep what is over."""
    return {
        "ReturnToService": "2",
        "SlurmctldTimeout": "10",
        "SlurmdTimeout": "15",
        "MessageTimeout": "10",
        "TCPTimeout": "5",
        "InactiveLimit": "0",
        "KillWait": "2",
        "WaitTime": "0",
        "MinJobAge": "300",
        "EpilogMsgTime": "0",
    }


def _scheduling() -> dict[str, str]:
    """As many jobs as anybody likes, each started as soon as there is room."""
    parameters = (
        "sched_min_interval=0,sched_interval=5,batch_sched_delay=0,default_queue_depth=10000,"
        "partition_job_depth=0,sched_max_job_start=0,max_rpc_cnt=0,"
        "bf_interval=5,bf_max_job_test=1000,bf_continue"
    )
    return {
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": parameters,
        "MaxJobCount": "200000",
        "MaxArraySize": "100001",
        "JobRequeue": "0",
        "FirstJobId": "1",
    }


def _watching(settings: Settings) -> dict[str, str]:
    """How nodes find the processes of a job and what they use."""
    if settings.has_cgroups:
        return {
            "ProctrackType": "proctrack/cgroup",
            "TaskPlugin": "task/cgroup",
            "JobAcctGatherType": "jobacct_gather/cgroup",
            "JobAcctGatherFrequency": "task=1",
        }
    return {
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
    }


def _accounting(settings: Settings) -> dict[str, str]:
    if not settings.has_accounting:
        return {"AccountingStorageType": "accounting_storage/none"}
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "localhost",
        "AccountingStoragePort": str(settings.accounting_port),
        "AccountingStoragePass": str(settings.munge_socket),
    }


def _slurmdbd(settings: Settings) -> dict[str, str]:
    return {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={settings.munge_socket}",
        "DbdHost": "localhost",
        "DbdAddr": "127.0.0.1",
        "DbdPort": str(settings.accounting_port),
        "SlurmUser": "root",
        "DebugLevel": "info",
        "LogFile": str(settings.log("slurmdbd")),
        "PidFile": str(settings.folder / "slurmdbd.pid"),
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_accounting",
        "CommitDelay": "1",
    }


def _nodes(settings: Settings) -> list[str]:
    """The lines of the nodes and of the partition, and what else was asked for."""
    has = f"CPUs={settings.cpus} RealMemory={settings.memory_mb} State=UNKNOWN"
    if settings.gpus:
        has += f" Gres=gpu:{settings.gpus}"
    where = f"NodeHostname={_host()} NodeAddr=127.0.0.1"
    ports = settings.node_ports.items()
    nodes = [f"NodeName={name} {where} Port={port} {has}" for name, port in ports]
    members = ",".join(_names(settings))
    partition = f"PartitionName={PARTITION} Nodes={members} Default=YES MaxTime=INFINITE State=UP"
    further = [line for line in settings.extra.splitlines() if _is_listed(line)]
    is_replaced = any(line.startswith(f"PartitionName={PARTITION} ") for line in further)
    return [*nodes, *([] if is_replaced else [partition]), *further]


def _overridden(lines: dict[str, str], extra: str) -> dict[str, str]:
    further = [line.partition("=") for line in extra.splitlines() if line and not _is_listed(line)]
    return lines | {key: value for key, _, value in further}


def _is_listed(line: str) -> bool:
    """Whether a line is one of several with the same setting."""
    return line.startswith(("NodeName=", "PartitionName="))


def _names(settings: Settings) -> list[str]:
    return list(settings.node_ports)


def _host() -> str:
    return socket.gethostname().partition(".")[0]
