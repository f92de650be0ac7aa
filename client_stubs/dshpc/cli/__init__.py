"""The `dshpc` command: batches, files, methods and jobs from a terminal or a script.

Promises: results on stdout, everything else on stderr; machine output is JSON lines; no escape
codes off a terminal; an error is one line. Exit codes are in `exit_codes`.
"""
