"""Settles asyncio futures on their own loop, a batch at a time. Called by the native module."""

from __future__ import annotations

import asyncio
from typing import Any


def settle(items: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    """Give each future its value or its error, unless it was cancelled meanwhile."""
    for future, value, error in items:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
