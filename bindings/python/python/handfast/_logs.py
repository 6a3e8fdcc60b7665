"""Log records of the native module, as records of `logging`.

The loggers are called `handfast.core.session` and the like, below `handfast`. Which levels are
made at all is looked up whenever a client connects: what nobody wants costs nothing.
"""

from __future__ import annotations

import logging
import os

from . import _native

# The process and the level of the forwarding; a forked child starts its own.
_forwarding = (0, 0)
_ROOT = logging.getLogger("handfast")
# A library says nothing unless the program has configured logging.
_ROOT.addHandler(logging.NullHandler())


def _threshold() -> int:
    """The least level that any logger below `handfast` takes."""
    known = [
        logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if name.startswith("handfast.") and isinstance(logger, logging.Logger)
    ]
    least = min(logger.getEffectiveLevel() for logger in [_ROOT, *known])
    return max(least, logging.Logger.manager.disable + 1)


def _emit(level: int, name: str, text: str, created: float) -> None:
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(name, level, "(native)", 0, text, (), None)
    record.created = created
    record.msecs = (created - int(created)) * 1000
    logger.handle(record)


def connect() -> None:
    """Forward records from now on, down to the levels that are wanted at this time."""
    global _forwarding
    wanted = (os.getpid(), _threshold())
    if wanted != _forwarding:
        _native.forward_logs(wanted[1], _emit)
        _forwarding = wanted


def flush(timeout: float = 10.0) -> bool:
    """Wait until the records made so far were handled."""
    return _native.flush_logs(timeout)
