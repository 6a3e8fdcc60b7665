"""What both clients are made of: where the cluster is, and how it is spoken to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from . import _lifecycle
from ._requests import DEFAULT_ENDPOINT, Requests


class ConnectOptions(TypedDict, total=False):
    """The options of `handfast.connect`, which explains them."""

    ttl: float | None
    namespace: str | bytes
    timeout: float | None
    beat: float | None
    app: str | None


def listed_endpoints(given: str | Sequence[str]) -> list[str]:
    """One endpoint or several, as a list."""
    if isinstance(given, str):
        return [given]
    listed = [*given] if isinstance(given, Iterable) else [given]
    for endpoint in listed:
        if not isinstance(endpoint, str):
            raise TypeError(f"an endpoint is str, not {type(endpoint).__name__}")
    return listed


class ClientBase(_lifecycle.Open):
    """The endpoints and the options of a client."""

    def __init__(
        self,
        endpoints: str | Sequence[str] = DEFAULT_ENDPOINT,
        *,
        ttl: float | None = None,
        namespace: str | bytes = b"",
        timeout: float | None = None,
        beat: float | None = None,
        app: str | None = None,
    ) -> None:
        self._endpoints = listed_endpoints(endpoints)
        self._requests = Requests(
            self._endpoints, ttl=ttl, namespace=namespace, timeout=timeout, beat=beat, app=app
        )
        _lifecycle.opened(self)

    def beat(self) -> None:
        """Report that the work goes on, if this was connected with `beat`.

        Raises SessionLostError when it comes too late: all that was held is lost.
        """
        self._requests.native.beat()

    def _close_at_exit(self) -> None:
        self._requests.close().wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {','.join(self._endpoints)}>"
