"""The session of a client, and the program's own sign of life."""

from __future__ import annotations

import asyncio

import handfast
import pytest
from handfast import aio
from handfast.testing import FaultyServer


def test_its_states_are_told(handfast_server: FaultyServer):
    with handfast_server.connect(app="told") as hf:
        held = hf.lock("n").acquire()
        session = hf.session
        assert session.state == handfast.SessionState("connected", None, None, None)
        assert session.lease == held.lease and session.remaining() > 0
        assert repr(session) == f"<Session connected lease={held.lease:x}>"
        with session.states() as states:
            handfast_server.expire("told")
            lost = next(state for state in states if state.kind in ["lost", "connected"])
        assert lost.kind == "connected" or (lost.reason and lost.text)
        assert held.lost_event.wait(60)
        hf.lock("n").acquire()
        assert session.lease != held.lease


async def test_its_states_are_told_to_asyncio(handfast_server: FaultyServer):
    async with aio.connect(handfast_server.endpoint, app="told") as hf:
        held = await hf.lock("n")
        async with hf.session.states() as states, asyncio.timeout(60):
            await asyncio.to_thread(handfast_server.expire, "told")
            await anext(states)
        assert await held.wait_lost() in ["revoked", "expired"]
        assert hf.session.remaining() >= 0


def test_a_program_that_does_not_beat_loses_all(handfast_server: FaultyServer):
    with handfast_server.connect(beat=0.2) as hf:
        held = hf.lock("n").acquire()
        assert held.lost_event.wait(60)
        with pytest.raises(handfast.LockLostError) as caught:
            held.check()
        assert caught.value.reason == "no_beat"


def test_a_program_that_beats_keeps_it(handfast_server: FaultyServer):
    with handfast_server.connect(beat=60) as hf:
        with hf.lock("n") as held:
            hf.beat()
            held.check()
