"""Services: being listed, finding others, picking one."""

from __future__ import annotations

import asyncio

import handfast
import pytest


def test_registered_found_and_gone(hf, other, name):
    with hf.discover(name) as discovery, discovery.changes() as changes:
        assert len(discovery.list()) == 0
        with pytest.raises(handfast.NoInstanceError):
            discovery.pick()
        with other.service(name).register(
            "n1", "10.0.0.5:80", weight=3, zone="a", version="2", metadata={"shard": "7"}
        ) as registration:
            assert registration.state.kind == "listed"
            joined = changes.next(60)
            assert (joined.kind, joined.instance.id) == ("joined", "n1")
            (found,) = discovery.list()
            assert (found.addr, found.weight, found.zone, found.version) == (
                "10.0.0.5:80", 3, "a", "2"
            )
            assert found.metadata == {"shard": "7"} and found.status == "up"
            assert hf.service(name).list() == (found,)
            with pytest.raises(handfast.DuplicateInstanceError) as caught:
                hf.service(name).register("n1", "10.0.0.6:80")
            assert caught.value.code == "DUPLICATE_INSTANCE"
            assert caught.value.details["addr"] == "10.0.0.5:80"
            assert caught.value.details["holder"].app == "other"
            discovery.at_least(registration.update(weight=5, metadata={}))
            updated = changes.next(60)
            assert (updated.kind, updated.instance.weight) == ("updated", 5)
            assert updated.before == found
        left = changes.next(60)
        assert (left.kind, left.instance.id) == ("left", "n1")
        assert registration.state.kind == "ended"
    assert list(changes) == []
    with pytest.raises(handfast.ClosedError):
        discovery.list()


def test_picks(hf, name):
    service = hf.service(name)
    for number in range(3):
        service.register(f"n{number}", f"10.0.0.{number}:80")
    with hf.discover(name) as discovery:
        each = [discovery.pick("round_robin").instance.id for _ in range(6)]
        assert sorted(each) == ["n0", "n0", "n1", "n1", "n2", "n2"]
        assert len({discovery.pick("hash", key="k").addr for _ in range(5)}) == 1
        assert len({discovery.pick("sticky", key=b"k").addr for _ in range(5)}) == 1
        for way in ["p2c", "weighted", "random"]:
            with discovery.pick(way) as picked:
                assert picked.addr.startswith("10.0.0.")
        discovery.at_least(service.set_status("n0", "draining"))
        assert service.set_status("none", "up") is None
        with pytest.raises(ZeroDivisionError), discovery.pick():
            raise ZeroDivisionError
        discovery.pick().report(True, 0.01)
        picked = {discovery.pick("round_robin").instance.id for _ in range(4)}
        assert picked == {"n1", "n2"}
        for wrong in [{"way": "best"}, {"way": "hash"}, {"key": "k"}]:
            with pytest.raises(handfast.InvalidArgumentError):
                discovery.pick(**wrong)


def test_a_registration_heals_itself(handfast_server):
    endpoint = handfast_server.endpoint
    with handfast.connect(endpoint, app="a") as a, handfast.connect(endpoint, app="b") as b:
        registration = a.service("s").register("n1", "h:1")
        with b.discover("s") as discovery, discovery.changes() as changes:
            handfast_server.expire("a")
            assert [changes.next(60).kind for _ in range(2)] == ["died", "joined"]
            handfast_server.restart()
            discovery.at_least(registration.update(weight=2))
            assert [one.weight for one in discovery.list()] == [2]


def test_without_a_server_the_list_stays(handfast_server):
    with handfast.connect(handfast_server.endpoint) as hf:
        hf.service("s").register("n1", "h:1")
        with hf.discover("s") as discovery:
            handfast_server.stop()
            assert discovery.pick().addr == "h:1" and len(discovery.list()) == 1
            handfast_server.restart()


async def test_asyncio(ahf, name):
    async with ahf.discover(name) as discovery, discovery.changes() as changes:
        waiting = asyncio.create_task(discovery.pick_when_ready(timeout=60))
        async with ahf.service(name).register("n1", "h:1") as registration:
            assert (await anext(changes)).kind == "joined"
            assert (await waiting).addr == "h:1"
            await discovery.at_least(await registration.update(status="warming"))
            assert [one.status for one in await ahf.service(name).list()] == ["warming"]
            with discovery.pick() as picked:
                assert picked.instance.status == "warming"
        async for change in changes:
            if change.kind == "left":
                break
    with pytest.raises(handfast.TimeoutError):
        async with ahf.discover(name) as discovery:
            await discovery.pick_when_ready(timeout=0.05)


async def test_a_cancelled_registration_is_withdrawn(ahf, name):
    await ahf.service(name).register("n1", "h:1")
    waiting = asyncio.create_task(
        ahf.service(name).register("n1", "h:2", wait=60).__aenter__()
    )
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [one.addr for one in await ahf.service(name).list()] == ["h:1"]
