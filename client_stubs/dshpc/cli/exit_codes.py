"""The exit codes of `dshpc`; `dshpc --help` and `dshpc run --help` say the same."""

COMPLETED = 0
"""Every job completed, or the command did what it was asked."""
NOT_COMPLETED = 1
"""Some job did not complete, or the command failed."""
USAGE = 2
"""Bad options or a bad batch file; nothing was submitted."""
UNAVAILABLE = 69
"""The server is not reachable or does not answer (EX_UNAVAILABLE of sysexits.h)."""
INCOMPLETE = 75
"""The stream broke before it was complete (the jobs go on), or the server is busy (EX_TEMPFAIL: ask
again)."""
INTERRUPTED = 130
"""Ctrl-C; jobs go on."""
