"""Locks, for asyncio: cancellation in both directions."""

from __future__ import annotations

import asyncio
import random
import time

import handfast
import pytest
from handfast.aio._held import _Body

CANCELLATIONS = 200


async def empty(client: handfast.aio.AsyncClient, name: str) -> None:
    """Wait until nothing is left in the queue."""
    async with asyncio.timeout(60):
        while (await client.range(f"{name}/", prefix=True)).kvs:
            await asyncio.sleep(0.01)


def break_soon(other: handfast.Client, name: str) -> None:
    """Take the lock away while the body goes on: it can be cancelled wherever it awaits."""
    asyncio.get_running_loop().run_in_executor(None, other.lock(name).break_holder, "test")


async def test_async_with_and_await(ahf, name):
    async with ahf.lock(name, timeout=30) as lock:
        lock.check()
        assert lock.token > 0 and lock.remaining() > 0 and lock.held
        await lock.put(f"{name}.x", "1")
    assert not lock.held
    assert not (await ahf.range(f"{name}/", prefix=True)).kvs
    held = await ahf.lock(name)
    assert (await ahf.lock(name).holder()).token == held.token
    await held.release()
    async with await ahf.lock(name) as held:
        held.check()
    assert await ahf.lock(name).holder() is None


async def test_loss_cancels_the_body(ahf, other, name):
    task = asyncio.current_task()
    cancelled = False
    with pytest.raises(handfast.LockLostError) as caught:
        async with ahf.lock(name):
            break_soon(other, name)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise
    assert cancelled and caught.value.reason == "broken"
    assert task.cancelling() == 0
    # Nothing of the cancellation is left for what follows.
    await asyncio.sleep(0)


async def test_loss_without_cancelling(ahf, other, name):
    with pytest.raises(handfast.LockLostError):
        async with ahf.lock(name, cancel_on_lost=False) as lock:
            break_soon(other, name)
            assert await lock.wait_lost() == "broken"
            await asyncio.sleep(0)


async def test_a_body_that_swallows_the_cancellation_still_learns(ahf, other, name):
    with pytest.raises(handfast.LockLostError):
        async with ahf.lock(name):
            break_soon(other, name)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
    assert asyncio.current_task().cancelling() == 0


async def test_loss_at_the_very_end_of_the_body():
    """The loop has the cancellation scheduled when the body ends: it must not hit what follows."""
    lost = asyncio.get_running_loop().create_future()
    body = _Body(lost)
    lost.set_result(("broken", ""))
    assert not body.end(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


async def test_max_hold_cancels_the_body_before_another_one_enters(ahf, other, name):
    overlaps = None
    with pytest.raises(handfast.LockLostError) as caught:
        async with ahf.lock(name, max_hold=0.1):
            try:
                await asyncio.Event().wait()
            finally:
                overlaps = any(other.try_lock(name) for _ in range(20))
    assert caught.value.reason == "max_hold" and overlaps is False


async def test_a_cancellation_from_outside_stays_one(ahf, other, name):
    entered = asyncio.Event()

    async def work() -> None:
        async with ahf.lock(name):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ahf.lock(name).holder() is None

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            async with ahf.lock(name):
                await asyncio.Event().wait()
    assert await ahf.lock(name).holder() is None


async def test_an_error_of_the_body_is_not_hidden(ahf, other, name):
    with pytest.raises(ZeroDivisionError):
        async with ahf.lock(name):
            break_soon(other, name)
            try:
                await asyncio.Event().wait()
            finally:
                1 / 0
    assert asyncio.current_task().cancelling() == 0


async def test_tasks_may_share_a_lock(ahf, name):
    shared = ahf.lock(name, timeout=60)
    inside, tokens = 0, []

    async def work() -> None:
        nonlocal inside
        async with shared as lock:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            tokens.append(lock.token)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert tokens == sorted(set(tokens)) and len(tokens) == 10


async def test_timeout_and_try(ahf, other, name):
    with other.lock(name):
        with pytest.raises(handfast.LockTimeoutError) as caught:
            async with ahf.lock(name, timeout=1):
                pytest.fail("entered without the lock")
        assert caught.value.holder.app == "other"
        busy = await ahf.try_lock(name)
        assert not busy and isinstance(busy, handfast.Busy)
    if lock := await ahf.try_lock(name):
        async with lock:
            lock.check()
    else:
        pytest.fail("the lock is free")


async def test_cancelled_acquisitions_leave_nothing(ahf, other, name):
    """Cancelled while queued behind a holder, and racing with the grant."""
    seeds = random.Random(7)
    granted = 0
    # On a slow machine everything takes longer, also what is to be raced with.
    started = time.monotonic()
    for _ in range(5):
        await (await ahf.lock(name)).release()
    usual = (time.monotonic() - started) / 5

    async def attempt() -> None:
        nonlocal granted
        async with ahf.lock(name):
            granted += 1

    for number in range(CANCELLATIONS):
        if number % 2:
            task = asyncio.create_task(attempt())
            await asyncio.sleep(seeds.random() * 2 * usual)
        else:
            blocker = await ahf.lock(name)
            task = asyncio.create_task(attempt())
            await asyncio.sleep(seeds.random() * usual)
            releasing = asyncio.create_task(blocker.release())
            await asyncio.sleep(seeds.random() * usual)
            await releasing
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await empty(ahf, name)
    # Some were too late to be cancelled and some were not, or this tests nothing.
    assert 0 < granted < CANCELLATIONS
    assert await asyncio.to_thread(lambda: bool(other.try_lock(name)))


async def test_a_cancelled_release_is_carried_out(ahf, name):
    for _ in range(20):
        lock = await ahf.lock(name)
        releasing = asyncio.create_task(lock.release())
        await asyncio.sleep(0)
        releasing.cancel()
        await asyncio.gather(releasing, return_exceptions=True)
    await empty(ahf, name)


async def test_a_body_that_gives_it_back_by_itself_goes_on(ahf, name):
    await ahf.queue(name).push("")
    async with await ahf.queue(name).claim(timeout=60) as claim:
        await claim.ack()
        assert await claim.wait_lost() == "released"
        for _ in range(10):
            await ahf.get(name)
    async with ahf.lock(name) as lock:
        await lock.release()
        assert await lock.wait_lost() == "released"
        for _ in range(10):
            await ahf.get(name)
    assert asyncio.current_task().cancelling() == 0
