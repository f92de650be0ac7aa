"""The words on the pretended programs' command lines: options as getopt_long takes them, and forms.

An option that the real program does not have, or that the fake one does not do, is an error.
"""

import dataclasses
import re
import signal
from collections.abc import Mapping, Sequence

_Known = Mapping[str, bool]
"""The long options of a program: whether each takes a value."""


def _options(*, valued: str, plain: str) -> _Known:
    return {**dict.fromkeys(valued.split(), True), **dict.fromkeys(plain.split(), False)}


SBATCH = _options(
    valued="account array chdir comment constraint cpus-per-task error exclude export gres input"
    " job-name mem nice nodelist nodes ntasks ntasks-per-node open-mode output partition qos signal"
    " time",
    plain="exclusive hold no-requeue parsable quiet requeue",
)
SBATCH_SHORT = {
    "A": "account", "C": "constraint", "D": "chdir", "H": "hold", "J": "job-name", "N": "nodes",
    "Q": "quiet", "a": "array", "c": "cpus-per-task", "e": "error", "i": "input", "n": "ntasks",
    "o": "output", "p": "partition", "q": "qos", "t": "time", "x": "exclude", "w": "nodelist",
}  # fmt: skip
SQUEUE = _options(
    valued="account format jobs name partition qos sort states user",
    plain="all array local me noheader",
)
SQUEUE_SHORT = {
    "A": "account", "S": "sort", "a": "all", "h": "noheader", "j": "jobs", "n": "name",
    "o": "format", "p": "partition", "q": "qos", "r": "array", "t": "states", "u": "user",
}  # fmt: skip
SCANCEL = _options(valued="name partition signal state user", plain="batch full me quiet verbose")
SCANCEL_SHORT = {
    "Q": "quiet", "b": "batch", "f": "full", "n": "name", "p": "partition", "s": "signal",
    "t": "state", "u": "user", "v": "verbose",
}  # fmt: skip
SINFO = _options(
    valued="format nodes partition states",
    plain="Node all exact noconvert noheader responding summarize",
)
SINFO_SHORT = {
    "N": "Node", "a": "all", "e": "exact", "h": "noheader", "n": "nodes", "o": "format",
    "p": "partition", "r": "responding", "s": "summarize", "t": "states",
}  # fmt: skip
SACCT = _options(
    valued="endtime format name starttime state user",
    plain="allocations allusers duplicates noheader parsable parsable2",
)
SACCT_SHORT = {
    "E": "endtime", "P": "parsable2", "S": "starttime", "X": "allocations", "n": "noheader",
    "o": "format", "u": "user",
}  # fmt: skip
SCONTROL = _options(valued="", plain="all details oneliner")
SCONTROL_SHORT = {"a": "all", "d": "details", "o": "oneliner"}

_MAY_GO_WITHOUT = {"nice", "exclusive"}  # an optional value is only ever written --x=y
_SLICE = re.compile(r"(\d+)(?:_(?:(\d+)|\[([\d,-]+)(?:%\d+)?\]))?")
_MEMORY = re.compile(r"(\d+)([KMGT]?)B?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_WARN = re.compile(r"(RBR|RB|BR|R|B)?:? *(?:SIG)?([A-Z0-9]+) *(?:@ *(\d*))?", re.IGNORECASE)
_WARN_SIGNALS = (
    *("HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "ALRM", "TERM", "CONT", "STOP"),
    *("TSTP", "TTIN", "TTOU", "URG", "XCPU"),
)
_USUAL_WARN_SECONDS = 60
_LONGEST_WARN_SECONDS = 65535


class WordsError(Exception):
    """A command line that the program refuses; says what it prints."""


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """A command line, taken apart."""

    options: Mapping[str, str]
    rest: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Warn:
    """What --signal asks for."""

    number: int
    seconds: int
    """How long before the time limit, at the latest."""
    is_for_shell: bool
    """To the batch shell alone; else to the steps alone, of which a batch script may have none."""


def parse(
    program: str,
    words: Sequence[str],
    known: _Known,
    short: Mapping[str, str],
    *,
    is_mixed: bool = True,
) -> Words:
    """Take options apart; unless `is_mixed`, what follows the first other word is not looked at."""
    options: dict[str, str] = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += left
            break
        if word.startswith("--"):
            name, is_given, value = word[2:].partition("=")
            if name not in known:
                raise _unrecognized(program, f"unrecognized option '--{name}'")
            if known[name] and not is_given and name not in _MAY_GO_WITHOUT:
                value = _next(program, f"option '--{name}' requires an argument", left)
            options[name] = value
        elif word.startswith("-") and len(word) > 1:
            _parse_short(program, word[1:], left, options, known, short)
        else:
            rest.append(word)
            if not is_mixed:
                rest += left
                break
    return Words(options, rest)


def _parse_short(
    program: str,
    letters: str,
    left: list[str],
    options: dict[str, str],
    known: _Known,
    short: Mapping[str, str],
) -> None:
    for place, letter in enumerate(letters):
        name = short.get(letter, "")
        if name not in known:
            raise _unrecognized(program, f"invalid option -- '{letter}'")
        if not known[name]:
            options[name] = ""
            continue
        value = letters[place + 1 :]
        options[name] = value or _next(program, f"option requires an argument -- '{letter}'", left)
        return


def _next(program: str, complaint: str, left: list[str]) -> str:
    if not left:
        raise _unrecognized(program, complaint)
    return left.pop(0)


def _unrecognized(program: str, complaint: str) -> WordsError:
    return WordsError(f'{program}: {complaint}\nTry "{program} --help" for more information\n')


def indexes(spec: str) -> tuple[list[int], int]:
    """Of an --array option, and its %N (0 without one). Raises ValueError."""
    spec, _, parallel = spec.partition("%")
    found: list[int] = []
    for part in spec.split(","):
        ends, _, step = part.partition(":")
        first, _, last = ends.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    if not found:
        raise ValueError(spec)
    return sorted(set(found)), int(parallel or 0)


def count(spec: str) -> int:
    """How many tasks an --array option asks for; one that is refused anyway asks for none."""
    try:
        return len(indexes(spec)[0])
    except ValueError:
        return 0


def job(word: str) -> tuple[int, list[int] | None]:
    """A job as scancel names it: 12, 12_7 or 12_[3-5,7]. Raises ValueError."""
    match = _SLICE.fullmatch(word)
    if match is None:
        raise ValueError(word)
    number, index, spread = match.groups()
    if spread is not None:
        return int(number), indexes(spread)[0]
    return int(number), None if index is None else [int(index)]


def megabytes(word: str) -> int:
    """Of a --mem option; without a unit it is megabytes. Raises ValueError."""
    match = _MEMORY.fullmatch(word)
    if match is None:
        raise ValueError(word)
    number, unit = int(match[1]), match[2].upper()
    kilobytes = number * {"K": 1, "": 1024, "M": 1024, "G": 1024**2, "T": 1024**3}[unit]
    return -(-kilobytes // 1024)


def minutes(word: str) -> int | None:
    """Of a --time option, rounded up; None = no limit. Raises ValueError."""
    if word.upper() in {"UNLIMITED", "INFINITE", "-1", "0"}:
        return None
    match = _CLOCK.fullmatch(word)
    if match is None:
        raise ValueError(word)
    days, *parts = match.groups()
    if days is not None:
        hours, mins, seconds = (int(part or 0) for part in parts)
    elif parts[2] is not None:
        hours, mins, seconds = (int(part) for part in parts)
    else:
        hours, mins, seconds = 0, int(parts[0]), int(parts[1] or 0)
    return (int(days or 0) * 24 + hours) * 60 + mins + (1 if seconds else 0)


def warning(word: str) -> Warn:
    """Of a --signal option: [R|B:]NAME[@SECONDS]. Raises ValueError."""
    match = _WARN.fullmatch(word)
    if match is None:
        raise ValueError(word)
    whom, name, given = match.groups()
    if name.isdigit():
        number = int(name)
    elif name.upper() in _WARN_SIGNALS:
        number = int(signal.Signals[f"SIG{name.upper()}"])
    else:
        raise ValueError(word)
    seconds = _USUAL_WARN_SECONDS if given is None else int(given or 0)
    if number not in signal.valid_signals() or seconds > _LONGEST_WARN_SECONDS:
        raise ValueError(word)
    return Warn(number, seconds, is_for_shell="B" in (whom or "").upper())


def spread(indexes: Sequence[int]) -> str:
    """As Slurm writes indexes: 0,2-3,7."""
    parts: list[list[int]] = []
    for index in indexes:
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
