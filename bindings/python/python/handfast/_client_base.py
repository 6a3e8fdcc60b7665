"""What both clients are made of: where the cluster is, and how it is spoken to."""

from __future__ import annotations

from collections.abc import Sequence

from . import _lifecycle
from ._requests import DEFAULT_ENDPOINT, Requests


class ClientBase(_lifecycle.Open):
    """The endpoints and the options of a client."""

    def __init__(
        self,
        endpoints: str | Sequence[str] = DEFAULT_ENDPOINT,
        *,
        ttl: float | None = None,
        namespace: str | bytes = b"",
        timeout: float | None = None,
        app: str | None = None,
    ) -> None:
        listed = [endpoints] if isinstance(endpoints, str) else list(endpoints)
        self._endpoints = listed
        self._requests = Requests(
            listed, ttl=ttl, namespace=namespace, timeout=timeout, app=app
        )
        _lifecycle.opened(self)

    def _close_at_exit(self) -> None:
        self._requests.close().wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {','.join(self._endpoints)}>"
