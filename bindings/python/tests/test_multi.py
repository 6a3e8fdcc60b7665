"""Several locks that are held together or not at all."""

from __future__ import annotations

import asyncio

import handfast
import pytest


def test_all_or_none(hf, other, name):
    names = [f"{name}/b", f"{name}/a", f"{name}/b"]
    with hf.multi_lock(names) as held:
        assert held.names == (f"{name}/a".encode(), f"{name}/b".encode())
        assert held.died == () and held.token > 0 and held.held
        held.put(f"{name}.k", "v")
        busy = other.multi_lock([f"{name}/b", f"{name}/c"]).try_acquire()
        assert not busy and busy.name == f"{name}/b".encode()
        assert busy.holder.token == held.token
        assert not other.try_lock(f"{name}/a")
        with pytest.raises(handfast.LockTimeoutError) as caught:
            other.multi_lock([f"{name}/c", f"{name}/a"], timeout=0.2).acquire()
        assert caught.value.holder.token == held.token
        assert other.lock(f"{name}/c").holder() is None
    taken = other.multi_lock(names).try_acquire()
    assert taken
    taken.release()


def test_losing_one_is_losing_all(hf, other, name):
    with pytest.raises(handfast.LockLostError):
        with hf.multi_lock([f"{name}/a", f"{name}/b"]) as held:
            other.lock(f"{name}/b").break_holder("it hung")
            assert held.lost_event.wait(60)


def test_what_cannot_be(hf):
    with pytest.raises(handfast.InvalidArgumentError):
        hf.multi_lock([]).acquire()


async def test_asyncio(ahf, name):
    order = []

    async def work(names: list[str]) -> None:
        async with ahf.multi_lock(names) as held:
            order.append(held.token)
            await asyncio.sleep(0)

    # Each two of them would wait for each other if the order mattered.
    await asyncio.gather(
        *[work([f"{name}/{a}", f"{name}/{b}"]) for a, b in ["xy", "yx", "yz", "zx", "zy"]]
    )
    assert len(order) == 5 == len(set(order))
    held = await ahf.multi_lock([f"{name}/x"])
    assert not await ahf.multi_lock([f"{name}/x", f"{name}/y"]).try_acquire()
    await held.release()
