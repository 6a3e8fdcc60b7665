"""What is told while waiting: who holds, and how many come first."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading

import handfast
import pytest
from conftest import LIMIT


def test_a_wait_tells_who_holds_and_how_many_are_ahead(hf, other, name, eventually):
    told: queue.Queue[handfast.Waiting] = queue.Queue()
    with hf.lock(name) as first:
        second = threading.Thread(target=lambda: other.lock(name).acquire().release())
        second.start()
        eventually(lambda: len(hf.lock(name).line().members) == 2)
        third = hf.lock(name, on_wait=told.put)
        waiting = threading.Thread(target=lambda: third.acquire().release())
        waiting.start()
        seen = told.get(timeout=LIMIT)
        assert (seen.name, seen.position, seen.ahead) == (name.encode(), 3, 2)
        assert seen.holder.token == first.token
    waiting.join(LIMIT)
    second.join(LIMIT)
    assert not waiting.is_alive()


def test_who_need_not_wait_is_told_nothing(hf, name):
    told: list[handfast.Waiting] = []
    with hf.lock(name, on_wait=told.append), hf.multi_lock([name + "2"], on_wait=told.append):
        assert told == []


def test_campaigns_and_several_locks_tell_it_too(hf, other, name):
    told: queue.Queue[handfast.Waiting] = queue.Queue()
    with other.election(name).lead() as term:
        with pytest.raises(handfast.LockTimeoutError):
            hf.election(name, on_wait=told.put).campaign(timeout=1)
        assert told.get(timeout=LIMIT).holder.token == term.token
    names = [f"{name}.{letter}" for letter in "ab"]
    with other.lock(names[1]) as lock:
        with pytest.raises(handfast.LockTimeoutError):
            hf.multi_lock(names, timeout=1, on_wait=told.put).acquire()
        seen = told.get(timeout=LIMIT)
        assert (seen.name.decode(), seen.holder.token) == (names[1], lock.token)


def test_a_callback_that_raises_is_logged_and_the_wait_goes_on(hf, other, name, caplog):
    told = threading.Event()

    def fail(waiting: handfast.Waiting) -> None:
        told.set()
        raise ZeroDivisionError("a bug of the program")

    def wait() -> None:
        with hf.lock(name, on_wait=fail):
            pass

    with caplog.at_level(logging.ERROR, "handfast"):
        with other.lock(name):
            thread = threading.Thread(target=wait)
            thread.start()
            assert told.wait(LIMIT)
        thread.join(LIMIT)
    assert not thread.is_alive()
    assert "a bug of the program" in caplog.text and name in caplog.text


async def test_asyncio_tells_it_in_the_loop(ahf, name):
    told: asyncio.Queue[tuple[int, threading.Thread]] = asyncio.Queue()

    def tell(waiting: handfast.Waiting) -> None:
        told.put_nowait((waiting.ahead, threading.current_thread()))

    async def wait(acquiring) -> None:
        async with acquiring:
            pass

    loop_thread = threading.current_thread()
    for what in [ahf.lock(name, on_wait=tell), ahf.multi_lock([name], on_wait=tell)]:
        async with ahf.lock(name):
            waiting = asyncio.create_task(wait(what))
            async with asyncio.timeout(LIMIT):
                assert await told.get() == (1, loop_thread)
        await waiting
    election = f"{name}.election"
    async with ahf.election(election).lead():
        campaign = ahf.election(election, on_wait=tell).campaign()
        waiting = asyncio.create_task(campaign)
        async with asyncio.timeout(LIMIT):
            assert await told.get() == (1, loop_thread)
    await (await waiting).resign()
