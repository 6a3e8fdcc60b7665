"""Work that is done once, with a result for everybody."""

from __future__ import annotations

import asyncio
import threading

import handfast
import pytest


def test_one_does_it_and_all_have_it(hf, other, name):
    calls = []

    def build(held: handfast.Held) -> str:
        held.check()
        calls.append(held.token)
        return "index"

    assert hf.once(name).get() is None
    first = hf.once(name).get_or_run(build)
    second = other.once(name).get_or_run(build)
    assert (first.text, first.ran) == ("index", True)
    assert (second.text, second.ran) == ("index", False)
    assert len(calls) == 1 and other.once(name).wait() == second
    assert hf.once(name, input="v2").get() is None
    assert other.once(name).forget() and not other.once(name).forget()
    assert hf.once(name).get_or_run(build).ran


def test_somebody_else_may_try_after_a_failure(hf, other, name):
    def fail(held: handfast.Held) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hf.once(name).get_or_run(fail)
    assert other.once(name, timeout=30).get_or_run(lambda _: "done").ran


def test_who_waits_takes_over_or_gives_up(hf, other, name):
    begun, go_on = threading.Event(), threading.Event()

    def slow(held: handfast.Held) -> str:
        begun.set()
        assert go_on.wait(60)
        return "slow"

    results = []
    worker = threading.Thread(
        target=lambda: results.append(hf.once(name).get_or_run(slow)), daemon=True
    )
    worker.start()
    assert begun.wait(60)
    with pytest.raises(handfast.LockTimeoutError) as caught:
        other.once(name, timeout=0.2).get_or_run(lambda _: "mine")
    assert caught.value.holder is not None
    go_on.set()
    assert other.once(name).get_or_run(lambda _: "mine").text == "slow"
    worker.join(60)
    assert results[0].ran


def test_a_lost_right_puts_no_result(handfast_server):
    with (
        handfast.connect(handfast_server.endpoint, app="old") as old,
        handfast.connect(handfast_server.endpoint, app="new") as new,
    ):

        def work(held: handfast.Held) -> str:
            handfast_server.expire("old")
            assert held.lost_event.wait(60)
            return "late"

        with pytest.raises(handfast.LockLostError):
            old.once("n").get_or_run(work)
        assert new.once("n").get_or_run(lambda _: "good").ran
        assert old.once("n").wait().text == "good"


async def test_asyncio(ahf, name):
    async def build(held: handfast.aio.Held) -> str:
        await asyncio.sleep(0)
        return f"by {held.token > 0}"

    results = await asyncio.gather(*[ahf.once(name).get_or_run(build) for _ in range(5)])
    assert sorted(result.ran for result in results) == [False] * 4 + [True]
    assert {result.text for result in results} == {"by True"}
    assert (await ahf.once(name).get()).text == "by True"


async def test_cancelled_work_is_left_to_others(ahf, name):
    begun = asyncio.Event()

    async def hang(held: handfast.aio.Held) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async def quick(held: handfast.aio.Held) -> str:
        return "quick"

    task = asyncio.create_task(ahf.once(name).get_or_run(hang))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ahf.once(name, timeout=30).get_or_run(quick)).ran
