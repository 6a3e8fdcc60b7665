"""Elections, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from .._election import campaigning
from .._frames import Named
from .._holding import LockOptions
from .._requests import Pending, Requests
from .._types import Leader, LockLine, Member
from ..errors import LeadershipLostError
from ._frames import Opening, closing
from ._held import Term, in_loop
from ._streams import Observer


T = TypeVar("T")


class Election(Named):
    """An election by its name; made by `AsyncClient.election`.

    Works together with etcdctl's elections and Go's `concurrency.Election` on the same name.
    """

    def __init__(
        self,
        requests: Requests,
        name: bytes,
        value: bytes,
        options: LockOptions,
        cancel_on_lost: bool,
    ) -> None:
        self._requests = requests
        self._options = options
        self._cancel_on_lost = cancel_on_lost
        self.name = name
        self.value = value

    async def campaign(self, *, timeout: float | None = None) -> Term:
        """Wait to be elected. Raises LockTimeoutError, which names the leader.

        Cancelling this withdraws the candidate for certain.
        """
        return await self._campaign(timeout, again=False)

    async def _campaign(self, timeout: float | None, again: bool) -> Term:
        options = in_loop(campaigning(self._options, timeout, again))
        call = self._requests.native.campaign(self.name, self.value, options)
        make = Pending(call, lambda native: Term(native, self.name, self._cancel_on_lost))
        return await make.start_holding()

    @asynccontextmanager
    async def lead(self, *, timeout: float | None = None) -> AsyncIterator[Term]:
        """Campaign, run the body while leading, resign. The body is cancelled on loss.

        To work again after that: `run`.
        """
        async with await self.campaign(timeout=timeout) as term:
            yield term

    async def run(
        self,
        work: Callable[[Term], Awaitable[T]],
        *,
        timeout: float | None = None,
        again: bool = False,
    ) -> T:
        """Campaign, call `work` while leading, resign; returns what `work` returns.

        When the lead is lost, `work` is cancelled and LeadershipLostError is raised; with `again`
        it is campaigned for again, and `work` is called again.
        """
        while True:
            term = await self._campaign(timeout, again)
            try:
                async with term:
                    return await work(term)
            except LeadershipLostError:
                # It may be the loss of another lead, which `work` had, too.
                if not again or term._true_loss() is None:
                    raise

    async def leader(self) -> Leader | None:
        """Who leads at this moment."""
        return await self._requests.leader(self.name).start()

    async def candidates(self) -> LockLine:
        """Everybody who campaigns, the leader first."""
        return await self._requests.candidates(self.name).start()

    async def break_leader(self, why: str) -> Member | None:
        """Take the lead away from whoever has it, who learns why; returns who that was."""
        return await self._requests.break_leader(self.name, why).start()

    def observe(self) -> Opening[Observer]:
        """Follow who leads, from now on: `async with election.observe() as leaders`."""

        async def make() -> Observer:
            return await Pending(self._requests.native.observe(self.name), Observer).start()

        return closing(make)
