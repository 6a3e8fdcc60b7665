"""From one item of a queue to the next in one transaction."""

from __future__ import annotations

import asyncio

import handfast
import pytest


def begun(hf, name: str, ids: list[str]) -> handfast.Claim:
    """The first of these items; the others were seen."""
    queue = hf.queue(name)
    for id in ids:
        queue.push(f"the {id}", id=id)
    claim = queue.claim(timeout=60)
    assert claim.id == ids[0]
    queue.list()
    return claim


def ready(hf, name: str) -> list[str]:
    return [item.id for item in hf.queue(name).list() if item.state == "ready"]


def test_an_acknowledgement_claims_the_next_item_at_its_own_revision(hf, name):
    first = begun(hf, name, ["b", "a"])
    revision, following = first.ack_and_next(put={f"{name}.b": "done"}, delete=[f"{name}.x"])
    assert hf.get(f"{name}.b").mod_revision == revision
    assert (following.id, following.text, following.attempt) == ("a", "the a", 1)
    assert following.token == revision and following.held
    last = following.ack_and_next()
    assert last.next is None and last.revision > revision
    assert hf.queue(name).list() == ()
    with pytest.raises(handfast.ClosedError):
        first.ack_and_next()


def test_an_empty_queue_is_not_waited_for(hf, name):
    first = begun(hf, name, ["a"])
    assert first.ack_and_next(put={f"{name}.a": "done"}).next is None
    assert hf.get(f"{name}.a").text == "done"
    # What waits is the queue, and for no longer than it is told to.
    with pytest.raises(handfast.LockTimeoutError):
        hf.queue(name).claim(timeout=0.1)


def test_a_loop_goes_on_with_what_was_claimed_and_gives_it_back_when_it_is_left(
    hf, name, eventually
):
    queue = hf.queue(name)
    for id in "abcde":
        queue.push("", id=id)
    seen, expected = [], None
    for claim in queue.consume():
        assert expected is None or claim is expected
        seen.append(claim.id)
        queue.list()
        with claim:
            expected = claim.ack_and_next().next
        if claim.id == "b":
            # It is done with before the loop comes to it.
            expected.ack()
            expected = None
        if claim.id == "d":
            break
    assert seen == ["a", "b", "d"] and expected.id == "e"
    eventually(lambda: ready(hf, name) == ["e"])
    with queue.claim(timeout=60) as claim:
        assert (claim.id, claim.attempt) == ("e", 1)


def test_a_lost_claim_gets_nothing_more(handfast_server):
    endpoint = handfast_server.endpoint
    with handfast.connect(endpoint, app="a") as a, handfast.connect(endpoint) as b:
        stale = begun(a, "q", ["a", "b"])
        handfast_server.expire("a")
        with pytest.raises(handfast.AckLostError):
            stale.ack_and_next(put={"out": "late"})
        assert b.get("out") is None
        for id, attempt in [("a", 2), ("b", 1)]:
            with b.queue("q").claim(timeout=60) as claim:
                assert (claim.id, claim.attempt) == (id, attempt)


async def test_asyncio_goes_on_in_a_loop(ahf, name):
    queue = ahf.queue(name)
    for id in "abc":
        await queue.push("", id=id)
    await queue.drain()
    seen = []
    async for claim in queue:
        await queue.list()
        async with claim:
            result = await claim.ack_and_next(put={f"{name}.{claim.id}": "done"})
            # The body goes on after it.
            await asyncio.sleep(0)
        assert (await ahf.get(f"{name}.{claim.id}")).mod_revision == result.revision
        assert result.next is None or result.next.token == result.revision
        seen.append((claim.id, claim.attempt))
    assert seen == [("a", 1), ("b", 1), ("c", 1)]


async def test_asyncio_a_loop_that_is_left_gives_the_next_item_back(ahf, name):
    queue = ahf.queue(name)
    for id in "ab":
        await queue.push("", id=id)
    items = queue.consume()
    claim = await anext(items)
    await queue.list()
    following = (await claim.ack_and_next()).next
    assert following.id == "b"
    await items.aclose()
    async with await queue.claim(timeout=60) as claim:
        assert (claim.id, claim.attempt) == ("b", 1)


async def test_a_cancelled_acknowledgement_is_made_and_takes_nothing(handfast_server):
    """While the server says nothing, so that it is under way when it is cancelled."""
    async with handfast.aio.connect(handfast_server.endpoint, ttl=60) as hf:
        queue = hf.queue("q")
        for id in "ab":
            await queue.push("", id=id)
        claim = await queue.claim()
        await queue.list()
        with handfast_server.silent():
            going = asyncio.create_task(claim.ack_and_next(put={"out": "a"}))
            await asyncio.sleep(0)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
        again = await queue.claim(timeout=60)
        assert (again.id, again.attempt) == ("b", 1)
        assert (await hf.get("out")).text == "a"
        await again.ack()


async def test_an_item_that_others_wait_for_with_the_same_worker_is_left_to_them(ahf, name):
    queue = ahf.queue(name)
    await queue.push("", id="a")
    items = queue.consume()
    first = await anext(items)
    waiting = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert (await first.ack_and_next()).next is None
        await queue.push("", id="b")
        async with await waiting as claim:
            assert claim.id == "b"
    await items.aclose()
