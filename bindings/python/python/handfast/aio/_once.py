"""Work that is done once, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .._once import OnceBase, OnceResult
from .._requests import Pending
from ._held import Held


class Once(OnceBase):
    """Work that is done once; made by `AsyncClient.once`."""

    async def get(self) -> OnceResult | None:
        """The result, if there is one."""
        return await self._result(False).start()

    async def wait(self) -> OnceResult:
        """The result as soon as somebody has it, without doing the work."""
        result = await self._result(True).start()
        assert result is not None
        return result

    async def forget(self) -> bool:
        """Forget the result, so that the work is done again; whether there was one."""
        return await self._forget().start()

    async def get_or_run(self, work: Callable[[Held], Awaitable[str | bytes]]) -> OnceResult:
        """The result, or that of `work`, which is done by one caller at a time, anywhere.

        `work` is given what it holds, and cancelled when that is lost. If it raises, somebody
        else may try. Results are small, at most 1 MiB. Raises LockLostError when the right to do
        it was lost before the result was put, and LockTimeoutError, which names who works, after
        `timeout`.
        """
        begun: Pending[tuple[Any, ...]] = Pending(self._begin(), lambda step: step)
        result, holding, handle = await begun.start()
        if result is not None:
            return OnceResult.from_native(result)
        try:
            async with Held(holding, self.name, True) as held:
                value = await work(held)
        except BaseException:
            handle.abandon()
            raise
        return await self._finish(handle, value).start()
