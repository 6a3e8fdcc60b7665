"""Work that is done once, by whoever comes first, with a result for everybody; sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _native
from ._frames import Named
from ._held import Held
from ._requests import Pending, Requests
from ._types import to_bytes


@dataclass(frozen=True, slots=True)
class OnceResult:
    """The result of work that is done once; `ran` says whether it was done by this call."""

    value: bytes
    revision: int
    ran: bool

    @property
    def text(self) -> str:
        """The result as text; raises UnicodeDecodeError if it is none."""
        return self.value.decode()

    @classmethod
    def from_native(cls, raw: tuple[Any, ...]) -> OnceResult:
        return cls(*raw)


def optional_result(raw: tuple[Any, ...] | None) -> OnceResult | None:
    """The result, if there is one."""
    return None if raw is None else OnceResult.from_native(raw)


class OnceBase(Named):
    """The name of the work, and what its result depends on."""

    def __init__(
        self, requests: Requests, name: bytes, input: bytes | None, timeout: float | None
    ) -> None:
        self._requests = requests
        self._input = input
        self._timeout = timeout
        self.name = name

    def _begin(self) -> _native.Call:
        return self._requests.native.once(self.name, self._input, self._timeout)

    def _result(self, wait: bool) -> Pending[OnceResult | None]:
        call = self._requests.native.once_result(self.name, self._input, wait)
        return Pending(call, optional_result)

    def _forget(self) -> Pending[bool]:
        return Pending(self._requests.native.once_forget(self.name, self._input), bool)

    def _finish(self, work: _native.OnceWork, value: str | bytes) -> Pending[OnceResult]:
        return Pending(work.finish(to_bytes(value, "result")), OnceResult.from_native)


class Once(OnceBase):
    """Work that is done once; made by `Client.once`."""

    def get(self) -> OnceResult | None:
        """The result, if there is one."""
        return self._result(False).wait()

    def wait(self) -> OnceResult:
        """The result as soon as somebody has it, without doing the work."""
        result = self._result(True).wait()
        assert result is not None
        return result

    def forget(self) -> bool:
        """Forget the result, so that the work is done again; whether there was one."""
        return self._forget().wait()

    def get_or_run(self, work: Callable[[Held], str | bytes]) -> OnceResult:
        """The result, or that of `work`, which is done by one caller at a time, anywhere.

        `work` is given what it holds: its `token`, `check()` and `lost_event`. If it raises,
        somebody else may try. Results are small, at most 1 MiB. Raises LockLostError when the
        right to do it was lost before the result was put, and LockTimeoutError, which names who
        works, after `timeout`.
        """
        result, holding, handle = self._begin().wait()
        if result is not None:
            return OnceResult.from_native(result)
        held = Held(holding, self.name)
        try:
            value = work(held)
        except BaseException:
            handle.abandon()
            raise
        return self._finish(handle, value).wait()
