"""Elections, for programs without asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ._frames import Named
from ._held import Term
from ._holding import LockOptions
from ._requests import Pending, Requests
from ._streams import Observer
from ._types import Leader, LockLine, Member


class Election(Named):
    """An election by its name; made by `Client.election`.

    Works together with etcdctl's elections and Go's `concurrency.Election` on the same name.
    """

    def __init__(
        self, requests: Requests, name: bytes, value: bytes, options: LockOptions
    ) -> None:
        self._requests = requests
        self._options = options
        self.name = name
        self.value = value

    def campaign(self, *, timeout: float | None = None) -> Term:
        """Wait to be elected. Raises LockTimeoutError, which names the leader."""
        options = LockOptions(**{**self._options, "timeout": timeout})
        call = self._requests.native.campaign(self.name, self.value, options)
        return Pending(call, lambda native: Term(native, self.name)).wait()

    @contextmanager
    def lead(self, *, timeout: float | None = None) -> Iterator[Term]:
        """Campaign, run the `with` block while leading, resign."""
        with self.campaign(timeout=timeout) as term:
            yield term

    def leader(self) -> Leader | None:
        """Who leads at this moment."""
        return self._requests.leader(self.name).wait()

    def candidates(self) -> LockLine:
        """Everybody who campaigns, the leader first."""
        return self._requests.candidates(self.name).wait()

    def break_leader(self, why: str) -> Member | None:
        """Take the lead away from whoever has it, who learns why; returns who that was."""
        return self._requests.break_leader(self.name, why).wait()

    def observe(self) -> Observer:
        """Follow who leads, from now on."""
        return Pending(self._requests.native.observe(self.name), Observer).wait()
