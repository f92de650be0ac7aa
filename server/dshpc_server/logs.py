"""Logging: structured lines on stderr, for people on a terminal and as JSON elsewhere.

Promises: what jobs are about (parameters, file names, outputs) is never logged; only names, hashes,
counts and times are. What libraries say, and what nobody has caught, comes as such lines, too.
"""

import logging
import sys
import threading
import types
from collections.abc import Sequence
from typing import Literal

import structlog

Format = Literal["auto", "console", "json"]


def configure(*, level: str, format: Format) -> None:  # noqa: A002 - the setting's own name
    """Send every log line to stderr in one format; call once, before anything logs."""
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    renderers: Sequence[structlog.typing.Processor] = (
        (structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer())
        if as_json
        # The default traceback shows local variables, which hold what jobs are about.
        else (
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        # A line is one write, so that several servers can share a file.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Passing()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    threading.excepthook = _tell_of_thread
    sys.excepthook = _tell_of_end


def _in_order(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put first what every line has: people read them, too."""
    return {name: line.pop(name) for name in ("timestamp", "level", "event")} | dict(line)


class _Passing(logging.Handler):
    """Passes on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as a line of ours."""
        structlog.get_logger(__name__).log(
            record.levelno,
            "library.said",
            library=record.name,
            said=" ".join(record.getMessage().split()),
            exc_info=record.exc_info,
        )


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is SystemExit or ended.exc_value is None:
        return
    thread = ended.thread.name if ended.thread else None
    structlog.get_logger(__name__).critical("thread.died", thread=thread, exc_info=ended.exc_value)


def _tell_of_end(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(__name__).critical("server.died", exc_info=error)
