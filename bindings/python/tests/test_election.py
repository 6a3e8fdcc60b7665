"""Elections, sync and asyncio."""

from __future__ import annotations

import asyncio

import handfast
import pytest


def test_lead_proclaim_resign(hf, other, name):
    election = hf.election(name, value="n1")
    assert election.leader() is None
    with election.lead(timeout=30) as term:
        leader = other.election(name).leader()
        assert (leader.text, leader.token) == ("n1", term.token)
        term.proclaim("n1, ready")
        assert other.election(name).leader().text == "n1, ready"
        term.put(f"{name}.by", "n1")
        with pytest.raises(handfast.LockTimeoutError) as caught:
            other.election(name, value="n2").campaign(timeout=1)
        assert caught.value.holder.token == term.token
        assert len(election.candidates().members) == 1
    assert election.leader() is None
    later = other.election(name, value="n2").campaign()
    assert later.token > term.token
    later.resign()


def test_observe(hf, name):
    with hf.election(name).observe() as leaders:
        assert next(leaders) is None
        with hf.election(name, value="n1").lead() as term:
            assert next(leaders).text == "n1"
            term.proclaim("n1b")
            assert next(leaders).text == "n1b"
        assert next(leaders) is None
    assert list(leaders) == []


def test_a_lost_leadership(hf, other, name):
    with pytest.raises(handfast.LeadershipLostError) as caught:
        with hf.election(name, value="n1").lead() as term:
            other.delete(term.key)
            assert term.lost_event.wait(30)
    assert isinstance(caught.value, handfast.LockLostError)
    assert caught.value.code == "LOCK_LOST"


def test_the_lead_is_taken_away(hf, other, name):
    assert other.election(name).break_leader("nobody") is None
    term = hf.election(name, value="n1", max_hold=60, beat=60).campaign(timeout=30)
    term.beat()
    assert other.election(name).break_leader("it hung").token == term.token
    assert term.lost_event.wait(60)
    with pytest.raises(handfast.LeadershipLostError, match="it hung"):
        term.check()


def test_a_name_is_for_one_kind_of_thing(hf, name):
    with hf.lock(name):
        with pytest.raises(handfast.KindConflictError):
            hf.election(name).campaign(timeout=30)


async def test_asyncio_lead(ahf, name):
    election = ahf.election(name, value="n1")
    async with election.observe() as leaders:
        assert await anext(leaders) is None
        async with election.lead() as term:
            assert (await anext(leaders)).text == "n1"
            await term.proclaim("n1b")
            assert (await election.leader()).text == "n1b"
        async with asyncio.timeout(30):
            async for leader in leaders:
                if leader is None:
                    break
    term = await election.campaign()
    assert len((await election.candidates()).members) == 1
    await term.resign()
    assert await election.leader() is None


async def test_asyncio_loss_cancels_the_body(ahf, name):
    with pytest.raises(handfast.LeadershipLostError):
        async with ahf.election(name, value="n1").lead() as term:
            await ahf.delete(term.key)
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0


async def test_a_cancelled_campaign_leaves_nothing(ahf, name):
    async with ahf.election(name, value="n1").lead():
        waiting = asyncio.create_task(ahf.election(name, value="n2").campaign())
        async with asyncio.timeout(30):
            while len((await ahf.election(name).candidates()).members) < 2:
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(30):
            while len((await ahf.election(name).candidates()).members) > 1:
                await asyncio.sleep(0.01)


def test_run_works_while_leading(hf, name):
    election = hf.election(name, value="n1")

    def work(term: handfast.Term) -> int:
        assert election.leader().token == term.token
        return term.token

    assert election.run(work, timeout=30) > 0
    assert election.leader() is None


def test_run_works_again_when_the_lead_was_lost(hf, other, name):
    tokens: list[int] = []

    def work(term: handfast.Term) -> str:
        tokens.append(term.token)
        if len(tokens) < 3:
            other.election(name).break_leader("it hung")
            assert term.lost_event.wait(60)
        return f"done at {len(tokens)}"

    assert hf.election(name).run(work, again=True) == "done at 3"
    assert len(set(tokens)) == 3 and tokens == sorted(tokens)
    tokens.clear()
    with pytest.raises(handfast.LeadershipLostError, match="it hung"):
        hf.election(name).run(work)
    assert len(tokens) == 1


def test_the_loss_of_another_lead_is_not_made_up_for(hf, other, name):
    def work(term: handfast.Term) -> None:
        with hf.election(f"{name}.inner").lead() as inner:
            other.election(f"{name}.inner").break_leader("it hung")
            assert inner.lost_event.wait(60)

    with pytest.raises(handfast.LeadershipLostError, match="inner"):
        hf.election(name).run(work, again=True)


async def test_asyncio_run_cancels_the_work_and_begins_again(ahf, name):
    election = ahf.election(name)
    tokens: list[int] = []

    async def work(term: handfast.aio.Term) -> str:
        tokens.append(term.token)
        if len(tokens) < 3:
            await election.break_leader("it hung")
            await asyncio.Event().wait()
        return f"done at {len(tokens)}"

    async with asyncio.timeout(60):
        assert await election.run(work, again=True) == "done at 3"
        assert len(set(tokens)) == 3
        tokens.clear()
        with pytest.raises(handfast.LeadershipLostError):
            await election.run(work)
    assert asyncio.current_task().cancelling() == 0
    assert await election.leader() is None
