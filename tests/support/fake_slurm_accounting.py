"""The fake sacct: what has ended and what runs, a line for each task and each step."""

from support import fake_slurm_jobs as jobs
from support import fake_slurm_tables as tables
from support import fake_slurm_words as words_

_SIMPLE = "JobID,JobName,State,ExitCode"


def sacct(book: jobs.Book, words: words_.Words, form: str) -> str:
    """As with --parsable2; the times it is asked from and to are not looked at."""
    fields = words.options.get("format", _SIMPLE).split(",")
    names = words.options["name"].split(",") if "name" in words.options else None
    lines = [] if "noheader" in words.options else [fields]
    for task in book.tasks():
        if names is not None and task.array.name not in names:
            continue
        rows = [_row(task, form, step="")]
        if task.pid is not None:
            rows.append(_row(task, form, step="batch"))
        lines += [[row.get(field, "") for field in fields] for row in rows]
    return "".join("|".join(line) + "\n" for line in lines)


def _row(task: jobs.Task, form: str, *, step: str) -> dict[str, str]:
    seconds, peak_bytes = task.used
    return {
        "JobID": f"{task.id}.{step}" if step else task.id,
        "JobName": step or task.array.name,
        "State": task.state,
        "NodeList": task.node or "None assigned",
        "TotalCPU": f"{int(seconds) // 60:02}:{seconds % 60:06.3f}",
        "MaxRSS": f"{peak_bytes // 1024}K" if step else "",
        "Start": _moment(task.started_at, form),
        "End": _moment(task.ended_at, form),
        "Submit": _moment(task.array.submitted_at, form),
        "User": task.array.user,
    }


def _moment(at: float | None, form: str) -> str:
    return "Unknown" if at is None else tables.moment(at, form)
