"""Watches, sync and asyncio."""

from __future__ import annotations

import asyncio
import threading

import handfast
import pytest


def test_changes_come_in_order(hf, name):
    with hf.watch(f"{name}/", prefix=True, prev_kv=True) as events:
        hf.put(f"{name}/a", "1")
        hf.put(f"{name}/a", "2")
        hf.delete(f"{name}/a")
        seen = [next(events) for _ in range(3)]
    assert [event.kind for event in seen] == ["put", "put", "delete"]
    assert [event.is_create for event in seen] == [True, False, False]
    assert seen[1].prev_kv.text == "1" and seen[1].text == "2"
    assert seen[0].revision < seen[1].revision < seen[2].revision
    assert list(events) == []


def test_history_is_replayed(hf, name):
    first = hf.put(name, "1").revision
    hf.put(name, "2")
    with hf.watch(name, start_revision=first) as events:
        assert [next(events).text, next(events).text] == ["1", "2"]


def test_compacted_history_is_an_error(hf, name):
    first = hf.put(name, "1").revision
    last = hf.put(name, "2").revision
    hf.compact(last)
    with pytest.raises(handfast.CompactedError) as caught:
        with hf.watch(name, start_revision=first) as events:
            next(events)
    assert caught.value.compact_revision == last
    assert caught.value.code == "COMPACTED"
    with pytest.raises(handfast.CompactedError):
        hf.get(name, revision=first)


def test_next_with_a_timeout_loses_nothing(hf, name):
    with hf.watch(name) as events:
        with pytest.raises(handfast.TimeoutError):
            events.next(timeout=0.05)
        hf.put(name, "v")
        assert events.next(timeout=30).text == "v"


def test_close_ends_the_wait_of_another_thread(hf, name):
    events = hf.watch(name)
    entered = threading.Event()

    def close() -> None:
        entered.wait()
        events.close()

    thread = threading.Thread(target=close)
    thread.start()
    entered.set()
    assert list(events) == []
    thread.join()


async def test_asyncio_watch(ahf, name):
    async with ahf.watch(f"{name}/", prefix=True) as events:
        await ahf.put(f"{name}/a", "1")
        await ahf.put(f"{name}/b", "2")
        seen = []
        async for event in events:
            seen.append(event.text)
            if len(seen) == 2:
                break
    assert seen == ["1", "2"]
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_cancelling_a_wait_loses_nothing(ahf, name):
    count = 100
    seen: list[str] = []
    async with ahf.watch(name) as events:

        async def write() -> None:
            for number in range(count):
                await ahf.put(name, str(number))

        writing = asyncio.create_task(write())
        while len(seen) < count:
            try:
                async with asyncio.timeout(0.001):
                    while True:
                        seen.append((await anext(events)).text)
            except TimeoutError:
                pass
        await writing
    assert seen == [str(number) for number in range(count)]


async def test_asyncio_compaction(ahf, name):
    first = (await ahf.put(name, "1")).revision
    last = (await ahf.put(name, "2")).revision
    await ahf.compact(last)
    with pytest.raises(handfast.CompactedError):
        async with ahf.watch(name, start_revision=first) as events:
            await anext(events)


async def test_leaving_wakes_another_task(ahf, name):
    async def follow(events: handfast.aio.Watch) -> int:
        return len([event async for event in events])

    async with ahf.watch(name) as events:
        following = asyncio.create_task(follow(events))
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await following == 0
