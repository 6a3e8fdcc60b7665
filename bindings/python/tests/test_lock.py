"""Locks, for programs without asyncio."""

from __future__ import annotations

import threading

import handfast
import pytest
from handfast import Compare, Op


def test_with(hf, name):
    with hf.lock(name, timeout=30) as lock:
        lock.check()
        assert lock.held and 0 < lock.remaining() <= 10
        assert lock.token > 0 and lock.name == name.encode()
        assert not lock.previous_died
        pair = hf.get(lock.key)
        assert pair.create_revision == lock.token and pair.lease == lock.lease
        assert "token=" in repr(lock)
    assert hf.get(lock.key) is None
    assert not lock.held
    with pytest.raises(handfast.LockLostError) as caught:
        lock.check()
    assert caught.value.reason == "released"
    lock.release()


def test_tokens_grow(hf, name):
    tokens = []
    for _ in range(3):
        with hf.lock(name) as lock:
            tokens.append(lock.token)
    assert tokens == sorted(set(tokens))


def test_timeout_names_the_holder(hf, other, name):
    entered = False
    with other.lock(name):
        with pytest.raises(handfast.LockTimeoutError) as caught:
            with hf.lock(name, timeout=1):
                entered = True
        assert len(other.lock(name).line().members) == 1
    assert not entered
    error = caught.value
    assert isinstance(error, TimeoutError) and isinstance(error, handfast.TimeoutError)
    assert error.code == "TIMEOUT" and error.retryable
    assert error.holder.app == "other" and error.position == 2
    assert name in str(error) and "other" in str(error)


def test_try_lock(hf, other, name):
    if lock := hf.try_lock(name):
        with lock:
            busy = other.try_lock(name)
            assert not busy
            assert isinstance(busy, handfast.Busy)
            assert busy.holder.token == lock.token
            assert str(busy.holder) in repr(busy)
    else:
        pytest.fail("the lock is free")
    again = other.try_lock(name)
    assert again
    again.release()


def test_line_and_holder(hf, other, name, eventually):
    with hf.lock(name) as lock:
        thread = threading.Thread(target=lambda: other.lock(name).acquire().release())
        thread.start()
        eventually(lambda: len(hf.lock(name).line().members) == 2)
        line = hf.lock(name).line()
        assert line.holder.token == lock.token
        assert [waiter.app for waiter in line.waiters] == ["other"]
        assert hf.lock(name).holder().token == lock.token
    thread.join()
    assert hf.lock(name).holder() is None


def test_writes_are_guarded(hf, other, name):
    with pytest.raises(handfast.LockLostError) as caught:
        with hf.lock(name) as lock:
            lock.put(f"{name}.a", "1")
            assert lock.delete(f"{name}.a") > lock.token
            result = lock.txn(
                when=[Compare.missing(f"{name}.b")],
                then=[Op.put(f"{name}.b", "1")],
                otherwise=[Op.get(f"{name}.b")],
            )
            assert result.succeeded
            other.delete(lock.key)
            lock.put(f"{name}.b", "2")
    assert caught.value.reason == "deleted"
    assert hf.get(f"{name}.b").text == "1"


def test_loss_sets_the_event_and_raises_at_the_end(hf, other, name):
    with pytest.raises(handfast.LockLostError) as caught:
        with hf.lock(name) as lock:
            lost = lock.lost_event
            assert not lost.is_set()
            broken = other.lock(name).break_holder("it was time")
            assert broken.token == lock.token
            assert lost.wait(30)
            assert lock.remaining() == 0
    assert caught.value.reason == "broken"
    assert "it was time" in str(caught.value)


def test_the_event_is_not_set_by_a_release(hf, name):
    with hf.lock(name) as lock:
        lost = lock.lost_event
    assert not lost.wait(0.1)


def test_an_error_of_the_body_is_not_hidden(hf, other, name):
    with pytest.raises(ZeroDivisionError):
        with hf.lock(name):
            other.lock(name).break_holder("test")
            1 / 0
    with pytest.raises(ZeroDivisionError):
        with hf.lock(name):
            1 / 0
    assert hf.lock(name).holder() is None


def test_max_hold_and_beat(hf, name):
    with pytest.raises(handfast.LockLostError) as caught:
        with hf.lock(name, max_hold=0.1) as lock:
            assert lock.lost_event.wait(30)
    assert caught.value.reason == "max_hold"
    with pytest.raises(handfast.LockLostError) as caught:
        with hf.lock(name, beat=0.1) as lock:
            lock.beat()
            assert lock.lost_event.wait(30)
            lock.beat()
    assert caught.value.reason == "no_beat"


def test_a_limit_waits_for_the_body(hf, other, name, eventually):
    """The holder is told at once; the key stays until it has stopped, if it does so soon."""
    with pytest.raises(handfast.LockLostError):
        with hf.lock(name, max_hold=0.1) as lock:
            assert lock.lost_event.wait(30)
            for _ in range(20):
                assert not other.try_lock(name)
    eventually(lambda: hf.get(lock.key) is None)


def test_threads_may_share_a_lock(hf, name):
    shared = hf.lock(name, timeout=60)
    inside, most, entries = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with shared as lock:
                inside += 1
                most = max(most, inside)
                entries.append(lock.token)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and len(entries) == 20
    assert entries == sorted(set(entries))


def test_a_dropped_lock_is_released(hf, other, name):
    lock = hf.lock(name).acquire()
    del lock
    with other.lock(name, timeout=30):
        pass


def test_closing_the_client_releases(server, other, name):
    with handfast.connect(server.endpoint) as hf:
        # Kept, for one that is dropped is released.
        held = hf.lock(name).acquire()
    # Sooner than the TTL ends; but nobody has said that the work was done.
    with other.lock(name, timeout=5) as lock:
        assert lock.previous_died
    assert held.token < lock.token
