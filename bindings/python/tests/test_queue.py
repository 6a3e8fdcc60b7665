"""Queues: every item to one worker at a time, until it is acknowledged."""

from __future__ import annotations

import asyncio
import threading

import handfast
import pytest

from conftest import eventually


def ids(queue) -> list[str]:
    return [item.id for item in queue.list()]


def test_pushed_claimed_acknowledged(hf, other, name):
    queue = hf.queue(name)
    first = queue.push("one", id="1")
    again = other.queue(name).push("one, again", id="1")
    assert (first.id, first.duplicate, again.duplicate) == ("1", False, True)
    queue.push(b"\xff", id="2")
    claim = other.queue(name).claim(timeout=30)
    assert (claim.id, claim.text, claim.attempt) == ("1", "one", 1)
    item = queue.list()[0]
    assert (item.state, item.attempts, item.claimed_by.app) == ("claimed", 1, "other")
    claim.ack(put={f"{name}.out": "done"})
    assert hf.get(f"{name}.out").text == "done" and ids(queue) == ["2"]
    with queue.claim(timeout=30) as claim:
        assert claim.payload == b"\xff"
    assert ids(queue) == []
    status = queue.status()
    assert (status.control, status.open, status.done) == ("run", True, 2)
    with pytest.raises(handfast.LockTimeoutError):
        queue.claim(timeout=0.1)


def test_a_failed_item_is_tried_again_and_dies_at_last(hf, name):
    queue = hf.queue(name)
    queue.push("bad", id="1")
    for attempt in [1, 2]:
        with pytest.raises(ZeroDivisionError):
            with queue.claim(timeout=30, max_attempts=2) as claim:
                assert claim.attempt == attempt
                raise ZeroDivisionError("cannot be")
    (letter,) = queue.dead()
    assert (letter.id, letter.payload, letter.attempts) == ("1", b"bad", 2)
    assert letter.said == "ZeroDivisionError: cannot be"
    assert queue.why("1").reasons[0].code == "dead"
    assert queue.retry("1") and not queue.retry("none")
    claim = queue.claim(timeout=30)
    assert claim.nack("not today") is False
    claim = queue.claim(timeout=30)
    attempt = claim.attempt
    claim.release()
    with queue.claim(timeout=30) as claim:
        # The one that was released untried does not count.
        assert claim.attempt == attempt


def test_an_interrupt_gives_the_item_back_untried(hf, name):
    queue = hf.queue(name)
    queue.push("x")
    with pytest.raises(KeyboardInterrupt), queue.claim(timeout=30):
        raise KeyboardInterrupt
    with queue.claim(timeout=30) as claim:
        assert claim.attempt == 1


def test_workers_share_the_items_until_it_is_drained(hf, other, name):
    queue = hf.queue(name)
    for number in range(20):
        queue.push(str(number))
    done: list[str] = []

    def work(client: handfast.Client) -> None:
        for claim in client.queue(name):
            with claim:
                done.append(claim.text)

    workers = [threading.Thread(target=work, args=(client,)) for client in [hf, other]]
    for worker in workers:
        worker.start()
    queue.drain()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert sorted(done, key=int) == [str(number) for number in range(20)]
    with pytest.raises(handfast.DrainingError) as caught:
        queue.push("late")
    assert caught.value.code == "DRAINING"
    queue.run()
    queue.push("next day")


def test_conditions(hf, name):
    queue = hf.queue(name)
    queue.wait_for(count=2)
    queue.push("a", id="a")
    with pytest.raises(handfast.LockTimeoutError):
        queue.claim(timeout=0.1)
    assert "count" in [reason.code for reason in queue.why("a").reasons]
    queue.push("b", id="b", after=["a"])
    queue.push("c", id="c", gate="g")
    queue.push("d", id="d", opens="g")
    order = []
    for _ in range(4):
        with queue.claim(timeout=30) as claim:
            order.append(claim.id)
    assert order.index("a") < order.index("b") and order.index("d") < order.index("c")
    queue.wait_for(start=True)
    queue.pause()
    queue.push("e", id="e")
    assert not queue.status().open
    queue.run()
    queue.wait_for()
    with queue.claim(timeout=30) as claim:
        assert claim.id == "e"
    assert queue.open_gate("h") and not queue.open_gate("h")
    with pytest.raises(ValueError, match="at a time"):
        queue.wait_for(count=1, gate="g")


def test_a_lost_claim_is_somebody_elses(handfast_server):
    endpoint = handfast_server.endpoint
    with handfast.connect(endpoint, app="a") as a, handfast.connect(endpoint, app="b") as b:
        a.queue("q").push("x")
        claim = a.queue("q").claim(timeout=30)
        handfast_server.expire("a")
        again = b.queue("q").claim(timeout=30)
        assert (again.attempt, again.token > claim.token) == (2, True)
        with pytest.raises(handfast.AckLostError) as caught:
            claim.ack(put={"out": "late"})
        assert isinstance(caught.value, handfast.LockLostError) and caught.value.reason
        assert b.get("out") is None
        again.ack(put={"out": "good"})
        assert b.get("out").text == "good"


async def test_asyncio(ahf, name):
    queue = ahf.queue(name)
    for number in range(3):
        await queue.push(str(number))
    await queue.drain()
    done = []
    async for claim in queue:
        async with claim:
            done.append(claim.text)
    assert done == ["0", "1", "2"]
    assert await queue.claim(timeout=30) is None


async def test_asyncio_loss_cancels_the_body(handfast_server):
    async with handfast.aio.connect(handfast_server.endpoint, app="a") as hf:
        await hf.queue("q").push("x")
        with pytest.raises(handfast.LockLostError):
            async with await hf.queue("q").claim():
                await asyncio.to_thread(handfast_server.expire, "a")
                await asyncio.Event().wait()
        assert asyncio.current_task().cancelling() == 0
        async with await hf.queue("q").claim() as claim:
            assert claim.attempt == 2


async def test_a_cancelled_wait_claims_nothing(ahf, name):
    queue = ahf.queue(name)
    waiting = asyncio.create_task(queue.claim())
    while (await queue.status()).workers == 0:
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await queue.push("x")
    async with await queue.claim(timeout=30) as claim:
        assert claim.attempt == 1


async def test_a_cancelled_body_gives_the_item_back_untried(ahf, name):
    queue = ahf.queue(name)
    await queue.push("x")
    begun = asyncio.Event()

    async def work() -> None:
        async with await queue.claim():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with await queue.claim(timeout=30) as claim:
        assert claim.attempt == 1


def test_a_killed_worker_loses_its_item(server, hf, python, name):
    queue = hf.queue(name)
    queue.push("x")
    process = python(
        """
import sys, handfast
hf = handfast.connect(sys.argv[1], ttl=2)
claim = hf.queue(sys.argv[2]).claim()
print(claim.attempt, flush=True)
sys.stdin.read()
""",
        server.endpoint,
        name,
    )
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    process.kill()
    with queue.claim(timeout=60) as claim:
        assert claim.attempt == 2
    eventually(lambda: ids(queue) == [])
