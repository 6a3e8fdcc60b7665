"""The fixture `handfast_server` and its faults."""

from __future__ import annotations

import asyncio
import logging

import handfast
import pytest
from handfast.testing import FaultyServer, flush_logs

from conftest import eventually


def test_a_session_is_ended(handfast_server):
    endpoint = handfast_server.endpoint
    with handfast.connect(endpoint, app="a") as a, handfast.connect(endpoint, app="b") as b:
        with b.lock("m"), pytest.raises(handfast.LockLostError):
            with a.lock("n") as lock:
                assert handfast_server.expire("a") == 1
                assert lock.lost_event.wait(60)
        with pytest.raises(handfast.LockLostError), b.lock("m") as held:
            assert handfast_server.expire() >= 1
            assert held.lost_event.wait(60)
    assert handfast_server.expire("nobody") == 0


def test_a_restart_keeps_data_and_locks(handfast_server):
    with handfast.connect(handfast_server.endpoint) as hf, hf.lock("n") as lock:
        hf.put("k", "v")
        handfast_server.restart()
        assert hf.get("k").text == "v"
        lock.put("k", "w")
        lock.check()
        handfast_server.disconnect()
        eventually(lambda: hf.get("k").text == "w")


def test_a_stop_refuses(handfast_server):
    with handfast.connect(handfast_server.endpoint, timeout=0.5) as hf:
        handfast_server.stop()
        with pytest.raises(handfast.UnavailableError):
            hf.get("k")
        with pytest.raises(handfast.ClosedError):
            handfast_server.expire()
        handfast_server.restart()
        assert hf.get("k") is None


def test_a_silence_loses_the_lock(handfast_server):
    with handfast.connect(handfast_server.endpoint, ttl=2, timeout=0.5) as hf:
        with pytest.raises(handfast.LockLostError) as caught, hf.lock("n") as lock:
            with handfast_server.silent():
                assert lock.lost_event.wait(60)
                assert not lock.held and lock.remaining() == 0
        assert caught.value.reason == "expired"
        hf.lock("n", timeout=60).acquire().release()


def test_a_compaction_discards_the_history(handfast_server):
    with handfast.connect(handfast_server.endpoint) as hf:
        first = hf.put("k", "1").revision
        last = hf.put("k", "2").revision
        assert handfast_server.compact() == last
        with pytest.raises(handfast.CompactedError):
            hf.get("k", revision=first)
        assert hf.get("k").text == "2"


async def test_asyncio_programs_use_it_too(handfast_server):
    async with handfast.aio.connect(handfast_server.endpoint, app="a") as hf:
        with pytest.raises(handfast.LockLostError):
            async with hf.lock("n"):
                await asyncio.to_thread(handfast_server.expire, "a")
                await asyncio.Event().wait()


def test_without_pytest(tmp_path):
    with FaultyServer() as server:
        folder = server.data_dir
        assert folder.is_dir() and server.endpoint in repr(server)
    server.close()


def test_logs_go_to_logging(handfast_server, caplog):
    with caplog.at_level(logging.DEBUG, "handfast"):
        with handfast.connect(handfast_server.endpoint) as hf, hf.lock("n"):
            hf.put("k", "v")
        assert flush_logs()
    names = {record.name for record in caplog.records}
    assert names and all(name.startswith("handfast.") for name in names)
    assert all(record.created > 1e9 for record in caplog.records)


def test_nothing_is_logged_that_nobody_wants(handfast_server, caplog):
    with caplog.at_level(logging.ERROR, "handfast"):
        with handfast.connect(handfast_server.endpoint) as hf, hf.lock("n"):
            hf.put("k", "v")
        assert flush_logs()
    assert [record for record in caplog.records if record.levelno < logging.ERROR] == []
