"""Errors: their classes, codes and words."""

from __future__ import annotations

import asyncio
import pickle
import socket

import handfast
import pytest
from handfast import _native, errors


@pytest.fixture
def nobody(free_port) -> str:
    return f"127.0.0.1:{free_port}"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_an_unreachable_server(nobody, eventually):
    with handfast.connect(nobody, timeout=0.5) as hf:

        def refused() -> handfast.HandfastError:
            with pytest.raises(handfast.HandfastError) as caught:
                hf.get("k")
            return caught.value

        seen: list[handfast.HandfastError] = []
        # On a machine that is slow enough the time is up before the connection is refused.
        eventually(lambda: seen.append(refused()) or isinstance(seen[-1], ConnectionError))
        error = seen[-1]
        assert isinstance(error, handfast.UnavailableError)
        assert error.code == "UNAVAILABLE" and error.retryable
        assert nobody in str(error)
        with pytest.raises(handfast.HandfastError):
            with hf.lock("l"):
                pytest.fail("entered without the lock")
        with pytest.raises(handfast.HandfastError):
            hf.watch("k")


def test_a_timeout_without_a_server_names_the_endpoint_and_why(nobody, eventually):
    with handfast.connect(nobody) as hf:

        def error(wait) -> handfast.LockTimeoutError:
            with pytest.raises(handfast.LockTimeoutError) as caught:
                wait()
            return caught.value

        waits = [
            hf.lock("l", timeout=0.1).acquire,
            lambda: hf.election("e").campaign(timeout=0.1),
            lambda: hf.queue("q").claim(timeout=0.1),
        ]
        # A slow machine may not have tried by then.
        eventually(lambda: "cannot connect" in str(error(waits[0])))
        for wait in waits:
            told = error(wait)
            assert f"no server was reached: http://{nobody}: cannot connect" in str(told)
            assert told.unreached is not None and nobody in told.unreached
            assert told.holder is None


def test_a_timeout_with_a_server_speaks_of_the_holder_only(hf, other, name):
    with other.lock(name), pytest.raises(handfast.LockTimeoutError) as caught:
        hf.lock(name, timeout=1).acquire()
    assert caught.value.unreached is None and "reached" not in str(caught.value)


async def test_an_unreachable_server_asyncio(nobody):
    async with handfast.aio.connect(nobody, timeout=0.5) as hf:
        while True:
            with pytest.raises(handfast.HandfastError) as caught:
                await hf.get("k")
            if isinstance(caught.value, handfast.UnavailableError):
                break
            # On a machine that is slow enough the time is up before the connection is refused.
            assert isinstance(caught.value, handfast.TimeoutError)


@pytest.mark.parametrize(
    "call",
    [
        lambda hf: hf.queue("q").push("x", after="abc"),
        lambda hf: hf.multi_lock("abc"),
        lambda hf: hf.queue("q").claim(timeout=30).ack(delete="abc"),
        lambda hf: hf.queue("q").claim(timeout=30).ack_and_next(delete=b"abc"),
    ],
)
def test_a_lone_name_is_not_taken_for_its_letters(server, name, call):
    with handfast.connect(server.endpoint, namespace=name) as hf:
        hf.queue("q").push("x")
        with pytest.raises(TypeError, match=r"write \[b?'abc'\]"):
            call(hf)


def test_what_cannot_be_called_is_refused_at_once(hf):
    with pytest.raises(TypeError, match="on_wait is a function, not int"):
        hf.lock("l", on_wait=3)


@pytest.mark.parametrize(
    "call",
    [
        lambda hf: hf.get(""),
        lambda hf: hf.put("", "v"),
        lambda hf: hf.lock("").acquire(),
        lambda hf: hf.lock("l", timeout=-1).acquire(),
        lambda hf: hf.lock("l", max_hold=float("nan")).acquire(),
        lambda hf: hf.txn(then=[handfast.Op.put("k", "1"), handfast.Op.put("k", "2")]),
    ],
)
def test_bad_arguments(hf, call):
    with pytest.raises(ValueError) as caught:
        call(hf)
    assert isinstance(caught.value, handfast.InvalidArgumentError)
    assert caught.value.code == "INVALID_ARGUMENT" and not caught.value.retryable


def test_bad_types_and_endpoints(hf):
    with pytest.raises(TypeError):
        hf.put("k", 7)
    with pytest.raises(handfast.InvalidArgumentError):
        handfast.connect([])
    with pytest.raises(handfast.InvalidArgumentError):
        handfast.connect("127.0.0.1:2379", ttl=-1)


def test_a_closed_client(server):
    hf = handfast.connect(server.endpoint)
    hf.close()
    hf.close()
    for call in [lambda: hf.get("k"), lambda: hf.lock("l").acquire(), lambda: hf.watch("k")]:
        with pytest.raises(handfast.ClosedError):
            call()


def test_errors_survive_pickling(hf, other, name):
    with other.lock(name):
        with pytest.raises(handfast.LockTimeoutError) as caught:
            hf.lock(name, timeout=1).acquire()
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is handfast.LockTimeoutError
    assert str(again) == str(caught.value) and again.holder == caught.value.holder
    assert again.code == "TIMEOUT" and again.retryable


def test_an_unknown_code_gives_the_base_class():
    error = errors.from_native("NEW_CODE", "words", True, {"a": 1})
    assert type(error) is handfast.HandfastError
    assert (error.code, error.retryable, error.details) == ("NEW_CODE", True, {"a": 1})


@pytest.mark.skipif(not hasattr(_native, "_panicking"), reason="only in debug builds")
async def test_a_panic_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="panicked"):
        _native._panicking().wait()
    with pytest.raises(RuntimeError, match="panicked"):
        await _native._panicking().start()
    # The thread that settles futures is still there.
    with pytest.raises(RuntimeError, match="panicked"):
        async with asyncio.timeout(30):
            await _native._panicking().start()
