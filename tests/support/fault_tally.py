"""Jobs that count their own runs: what the torture asks for, and what is known of it outside.

Every run adds a line to a tally as it starts and another as it ends, with its job and attempt, and
says so when another process of the same job still lives. The service never sees the tally.
"""

import collections
import dataclasses
import enum
import pathlib
from collections.abc import Sequence

from dshpc.v1 import types_pb2
from support import calls, site

METHOD = "counted"
# A lock that a process holds goes with the last of its tree, however that died.
_SCRIPT = """
folder=${{JOB_WORKSPACE%/workspace}}; number=${{folder##*/}}; job=${{folder%/*}}; job=${{job##*/}}
say() {{ printf '%s\\n' "$1 $job $number" >> '{tally}'; }}
exec 9> '{marks}'"/$job.lock"
flock -n 9 || say beside
say start
params=$(<"$2"); read -r x _ < "$1"
for name in lines milliseconds mode n; do
  [[ $params =~ \\"$name\\":\\"?([a-z0-9]+) ]]; printf -v "$name" %s "${{BASH_REMATCH[1]}}"
done
[ "$milliseconds" = 0 ] || sleep "$((milliseconds / 1000)).$(printf %03d $((milliseconds % 1000)))"
case $mode in
  stop) sleep 600;;
  fail) say end; exit 3;;
  once) [ -e '{marks}'"/$job.once" ] || {{ : > '{marks}'"/$job.once"; say end; exit 4; }};;
esac
value=$(( (x * 7919 + n) % 1000003 ))
for ((line = 0; line < lines; line++)); do printf '%d %d\\n' "$line" "$value"; done
say end
"""


class Mode(enum.StrEnum):
    """What becomes of a job."""

    WORK = "work"
    FAIL = "fail"
    ONCE = "once"
    """Fails the first time."""
    STOP = "stop"
    """Runs until it is cancelled."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One job that is asked for; equal ones are the same job."""

    mode: Mode
    x: int
    """The input."""
    n: int
    lines: int
    milliseconds: int

    @property
    def content(self) -> bytes:
        """The input file."""
        return b"%d\n" % self.x

    @property
    def output(self) -> bytes:
        """What it is to put out when it completes."""
        value = (self.x * 7919 + self.n) % 1_000_003
        return b"".join(b"%d %d\n" % (line, value) for line in range(self.lines))

    def config(self) -> types_pb2.JobConfig:
        """The row of a request."""
        parameters: dict[str, object] = {
            "lines": self.lines,
            "milliseconds": self.milliseconds,
            "mode": str(self.mode),
            "n": self.n,
        }
        return calls.config(METHOD, site.hash_of(self.content), parameters)

    def config_after(self, config_id: str) -> types_pb2.JobConfig:
        """The row of a request whose input another one puts out: with lines of it, `x` is 0."""
        config = self.config()
        config.file_hash = ""
        config.inputs["input"].job_output.config_id = config_id
        return config


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Run:
    """One attempt of a job, as its own process tells it."""

    job_id: str
    number: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What the tally holds."""

    starts: collections.Counter[Run]
    ends: collections.Counter[Run]
    beside: Sequence[Run]
    """Runs that began while another of the same job lived."""


class Tally:
    """The file in which runs are counted."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._file = folder / "tally"
        self._marks = folder / "marks"
        self._marks.mkdir(parents=True)

    def install(self, methods_dir: pathlib.Path) -> None:
        """Write the method that counts itself here."""
        script = _SCRIPT.format(tally=self._file, marks=self._marks)
        site.install(methods_dir, METHOD, script)

    def counts(self) -> Counts:
        """Read what was counted so far."""
        found: dict[str, list[Run]] = {"start": [], "end": [], "beside": []}
        text = self._file.read_text() if self._file.exists() else ""
        for line in text.splitlines():
            what, job_id, number = line.split()
            found[what].append(Run(job_id, int(number)))
        return Counts(
            starts=collections.Counter(found["start"]),
            ends=collections.Counter(found["end"]),
            beside=found["beside"],
        )
