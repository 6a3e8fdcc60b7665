"""Services: being listed, finding others and picking one; for asyncio."""

from __future__ import annotations

from collections.abc import Mapping

from .._requests import Pending
from .._service import (
    DiscoveryBase,
    Picked,
    RegistrationBase,
    ServiceBase,
    ServiceReading,
)
from .._service_types import Instance, PickWay, ServiceChange, Status, said
from ._frames import Opening, Stream, closing, ending


class Registration(RegistrationBase):
    """An instance that is kept listed: also under new leases, after an outage."""

    async def update(
        self,
        *,
        addr: str | None = None,
        weight: int | None = None,
        zone: str | None = None,
        version: str | None = None,
        status: Status | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Change what is said of it, what is given here; returns the revision."""
        return await self._update(said(addr, weight, zone, version, status, metadata)).start()

    async def unregister(self) -> None:
        """Take it off the list; others learn that it left. Cancelling this does not stop it."""
        await self._unregister().start()


class ServiceChanges(ServiceReading, Stream[ServiceChange]):
    """The changes of a service's list, in order, as an async iterator."""


class Discovery(DiscoveryBase):
    """Who offers a service, kept up to date."""

    def pick(self, way: PickWay = "p2c", *, key: str | bytes | None = None) -> Picked:
        """Choose an instance for a call; no input or output.

        `p2c`: the less loaded of two random ones. `hash` and `sticky` take a `key`. Raises
        NoInstanceError if there is none.
        """
        return self._pick(way, key)

    async def pick_when_ready(
        self, way: PickWay = "p2c", *, key: str | bytes | None = None, timeout: float = 3600.0
    ) -> Picked:
        """Choose as `pick` does, and wait for an instance if there is none."""
        return await self._pick_when_ready(way, key, timeout).start()

    def changes(self) -> Opening[ServiceChanges]:
        """Follow the changes of the list: `async with discovery.changes() as changes`."""

        async def make() -> ServiceChanges:
            return ServiceChanges(self._open_changes())

        return closing(make)

    async def at_least(self, revision: int) -> None:
        """Wait until everything up to `revision` is in the list."""
        await self._at_least(revision).start()

    async def close(self) -> None:
        """Follow no more, and end all iterations."""
        self._close()


class Service(ServiceBase):
    """A service by its name; made by `AsyncClient.service`.

    grpc-go's etcd resolver reads it, too.
    """

    def register(
        self,
        id: str,
        addr: str,
        *,
        weight: int = 1,
        zone: str = "",
        version: str = "",
        status: Status = "up",
        metadata: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Opening[Registration]:
        """List an instance: `async with service.register(...)`, or await it.

        It is kept listed until it is unregistered or the client closed. `wait`: seconds to wait
        for another instance of this id to go, as after a crash. Raises DuplicateInstanceError if
        somebody else has the id.
        """
        entry = said(addr, weight, zone, version, status, metadata or {})

        async def make() -> Registration:
            call = self._register(id, wait, entry)
            made = Pending(
                call, lambda native: Registration(native, self.name, self._requests)
            )
            return await made.start()

        return ending(make, Registration.unregister)

    async def list(self) -> tuple[Instance, ...]:
        """Who is listed now: one read, nothing is followed."""
        return await self._list().start()

    async def set_status(self, id: str, status: Status) -> int | None:
        """Set the status of an instance from outside: the revision, `None` if it is not listed."""
        return await self._set_status(id, status).start()
