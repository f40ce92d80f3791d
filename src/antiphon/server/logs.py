"""Structured logs on stderr: one JSON object a line, or aligned text for a person. Never content, never secrets.

Fields come from `extra=`; whatever looks like a credential is masked here, at the logger, so that no caller can forget.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

_SECRET: Final = re.compile(r"(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{8,}|(?i:(bearer\s+\S{4}))\S+")
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


def mask(text: str) -> str:
    """The text with keys and bearer tokens cut to their first characters."""
    return _SECRET.sub(lambda found: (found[1] or found[2]) + "***", text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in record.__dict__.items():
        if name not in _STANDARD and value is not None:
            fields[name] = mask(value) if isinstance(value, str) else value
    return fields


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, event, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": mask(record.getMessage()),
        }
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = mask(self.formatException(record.exc_info))
        return _encode(line).decode()


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO antiphon.access request status=200 ...`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname:<7} {record.name} {mask(record.getMessage())} {fields}".rstrip()
        return line + "\n" + mask(self.formatException(record.exc_info)) if record.exc_info else line


def configure_logging(level: str, style: str) -> None:
    """Send every logger to stderr; `auto` is text on a terminal and JSON elsewhere."""
    is_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
