"""A real Slurm cluster for tests: made in a temporary folder, all of its nodes on this machine.

Promise: it is apart from any other Slurm of the machine, and when its context ends, its daemons,
its jobs with their processes, its control groups and its folder are gone.
"""

import contextlib
import pathlib
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping

from support import slurm_accounting, slurm_places, slurm_processes, slurm_settings
from support.slurm_processes import Daemon, until
from support.slurm_settings import Settings

_STARTS = 3
_COMMAND_SECONDS = 60.0
_IDLE = ("idle", "mixed", "allocated", "completing")


class SlurmCluster:
    """One cluster with a controller and nodes; `running` makes one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._munge: Daemon | None = None
        self._accounting: slurm_accounting.Accounting | None = None
        self._controller: Daemon | None = None
        self._nodes: dict[str, Daemon] = {}

    @property
    def folder(self) -> pathlib.Path:
        return self._settings.folder

    @property
    def environment(self) -> dict[str, str]:
        """What commands and servers need to find it."""
        return {
            "PATH": slurm_places.search_path(),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "SLURM_CONF": str(self._settings.slurm_conf),
        }

    @property
    def nodes(self) -> list[str]:
        """The names of its nodes: n1, n2 and so on; longer ones where there are control groups."""
        return list(self._settings.node_ports)

    @property
    def partition(self) -> str:
        """The name of the partition that has all nodes."""
        return slurm_settings.PARTITION

    @property
    def pids(self) -> Mapping[str, int]:
        """The daemons that run now: `munged`, `slurmctld`, and each node by its name."""
        found = {"munged": self._munge, "slurmctld": self._controller, **self._nodes}
        return {name: daemon.pid for name, daemon in found.items() if daemon is not None}

    def command(self, *words: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        done = subprocess.run(
            words,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}: {done.stderr}"
        return done.stdout

    def stop_controller(self) -> None:
        """Kill the controller: what it has not saved is lost."""
        assert self._controller is not None, "it does not run"
        left = slurm_processes.children_of(self._controller.pid)
        self._controller.kill()
        slurm_processes.kill(left)
        self._controller = None

    def start_controller(self) -> None:
        """Start the controller; returns when it answers."""
        assert self._controller is None, "it runs"
        words = ["slurmctld", "-D", "-f", str(self._settings.slurm_conf)]
        self._controller = self._daemon(words, "slurmctld")
        self._await(self._controller, self._answers, "slurmctld does not answer")

    def pause_controller(self) -> None:
        """Stop the controller for a while: it takes connections and does not answer."""
        assert self._controller is not None, "it does not run"
        self._controller.send(signal.SIGSTOP)

    def resume_controller(self) -> None:
        """Let a paused controller go on, where it was."""
        assert self._controller is not None, "it does not run"
        self._controller.send(signal.SIGCONT)

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon. Its jobs run on, and nobody can reach them."""
        self._nodes.pop(name).kill()

    def start_node(self, name: str) -> None:
        """Start a node's daemon; `await_nodes` tells when the controller knows."""
        assert name not in self._nodes, "it runs"
        (self.folder / "spool" / name).mkdir(parents=True, exist_ok=True)
        words = ["slurmd", "-D", "-N", name, "-f", str(self._settings.slurm_conf)]
        self._nodes[name] = self._daemon(words, f"slurmd-{name}")

    def await_nodes(self) -> None:
        """Wait until jobs can be sent to every node."""
        assert until(self._is_whole), f"nodes are not up: {self._states()}\n{self.log()}"

    def end_jobs(self) -> None:
        """Cancel every job, and wait until none is left in the queue."""
        self.command("scancel", "--user=root", "--full")
        # One that was drained or killed may hold a job that ends only when it is back.
        assert until(lambda: not self.command("squeue", "-h", "-o", "%i")), "jobs do not end"

    def log(self) -> str:
        """What the daemons wrote, the end of each."""
        files = sorted((self.folder / "log").glob("*.log"))
        told = [(file.name, file.read_text(errors="replace")[-1000:]) for file in files]
        return "\n".join(f"== {name}\n{text}" for name, text in told if text)

    def start(self) -> None:
        """Start everything; returns when jobs can be submitted."""
        for name in ("log", "state"):
            (self.folder / name).mkdir(parents=True)
        slurm_settings.write(self._settings)
        self._start_munge()
        if self._settings.has_accounting:
            self._accounting = slurm_accounting.Accounting(self._settings, self.environment)
            self._accounting.start()
        for name in self.nodes:
            self.start_node(name)
        self.start_controller()
        self.await_nodes()

    def end(self) -> None:
        """Kill everything: nothing of it is to last."""
        for daemon in [*self._nodes.values(), self._controller]:
            if daemon is not None:
                left = slurm_processes.children_of(daemon.pid)
                daemon.kill()
                slurm_processes.kill(left)
        self._nodes, self._controller = {}, None
        # Who looks after jobs and is not stopped first would report, clean up and start more.
        while left := slurm_processes.jobs_of(self._settings.slurm_conf):
            slurm_processes.kill(left)
        if self._accounting is not None:
            self._accounting.end()
        if self._munge is not None:
            self._munge.kill()
        if self._settings.has_cgroups:
            slurm_places.end_cgroups(self.nodes)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        files = {
            "--key-file": key,
            "--socket": self._settings.munge_socket,
            "--pid-file": self.folder / "munged.pid",
            "--log-file": self._settings.log("munged"),
            "--seed-file": self.folder / "munged.seed",
        }
        words = [f"{option}={path}" for option, path in files.items()]
        self._munge = self._daemon(["munged", "--foreground", "--force", *words], "munged")
        self._await(self._munge, self._settings.munge_socket.exists, "munged has no socket")

    def _daemon(self, words: list[str], name: str) -> Daemon:
        return Daemon(words, log=self._settings.log(f"{name}.said"), environment=self.environment)

    def _answers(self) -> bool:
        words = ["scontrol", "ping"]
        asked = subprocess.run(words, env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0 and b"is UP" in asked.stdout

    def _await(self, daemon: Daemon, holds: Callable[[], bool], complaint: str) -> None:
        assert until(lambda: daemon.has_ended() or holds()), f"{complaint}\n{self.log()}"
        if daemon.has_ended():
            raise StartError(f"{complaint}\n{self.log()}")

    def _is_whole(self) -> bool:
        states = self._states()
        return len(states) == len(self.nodes) and all(state in _IDLE for state in states)

    def _states(self) -> list[str]:
        return self.command("sinfo", "-h", "-N", "-p", self.partition, "-o", "%T").split()


class StartError(Exception):
    """A daemon ended at once; somebody else may have been quicker to take its port."""


@contextlib.contextmanager
def running(
    folder: pathlib.Path | None = None,
    *,
    nodes: int = 4,
    cpus: int = 16,
    memory_mb: int = 4096,
    cgroups: bool = False,
    accounting: bool = False,
    gpus: int = 0,
    extra: str = "",
) -> Iterator[SlurmCluster]:
    """Run a cluster; skips the test where there is no Slurm.

    Without a folder it makes itself one. `cpus`, `memory_mb` and `gpus` are of each node; `extra`
    holds further lines of slurm.conf, or others in place of those that there are.
    """
    slurm_places.require(cgroups=cgroups, accounting=accounting)
    with contextlib.ExitStack() as ends:
        home = folder or ends.enter_context(slurm_places.folder())
        for attempt in range(_STARTS):
            controller, dbd, *others = slurm_places.free_ports(2 + nodes)
            # The machine has one place for control groups, and they bear the names of nodes.
            prefix = f"p{controller}n" if cgroups else "n"
            settings = Settings(
                folder=home / str(attempt),
                controller_port=controller,
                accounting_port=dbd,
                node_ports={f"{prefix}{i}": port for i, port in enumerate(others, start=1)},
                cpus=cpus,
                memory_mb=memory_mb,
                gpus=gpus,
                has_cgroups=cgroups,
                has_accounting=accounting,
                extra=extra,
            )
            cluster = SlurmCluster(settings)
            ends.callback(cluster.end)
            try:
                cluster.start()
            except StartError:
                if attempt + 1 == _STARTS:
                    raise
                cluster.end()
            else:
                break
        yield cluster
