"""Elections, for programs without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ._frames import Named
from ._held import Term
from ._holding import LockOptions
from ._requests import Pending, Requests
from ._streams import Observer
from ._types import Leader, LockLine, Member
from .errors import LeadershipLostError


T = TypeVar("T")


def campaigning(options: LockOptions, timeout: float | None, again: bool) -> LockOptions:
    """The options of one campaign."""
    rejoin = options["rejoin"] or again
    return LockOptions(**{**options, "timeout": timeout, "rejoin": rejoin})


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
        return self._campaign(timeout, again=False)

    def _campaign(self, timeout: float | None, again: bool) -> Term:
        options = campaigning(self._options, timeout, again)
        call = self._requests.native.campaign(self.name, self.value, options)
        return Pending(call, lambda native: Term(native, self.name)).wait()

    @contextmanager
    def lead(self, *, timeout: float | None = None) -> Iterator[Term]:
        """Campaign, run the `with` block while leading, resign.

        To work again after a loss: `run`.
        """
        with self.campaign(timeout=timeout) as term:
            yield term

    def run(
        self, work: Callable[[Term], T], *, timeout: float | None = None, again: bool = False
    ) -> T:
        """Campaign, call `work` while leading, resign; returns what `work` returns.

        `work` should look at `term.lost_event` or call `term.check()`, for a thread cannot be
        stopped. When the lead was lost by the time it returns, LeadershipLostError is raised; with
        `again` it is campaigned for again, and `work` is called again.
        """
        while True:
            term = self._campaign(timeout, again)
            try:
                with term:
                    return work(term)
            except LeadershipLostError:
                # It may be the loss of another lead, which `work` had, too.
                if not again or term._true_loss() is None:
                    raise

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
