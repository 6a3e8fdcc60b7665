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


def test_an_unreachable_server(nobody):
    with handfast.connect(nobody, timeout=0.5) as hf:
        with pytest.raises(ConnectionError) as caught:
            hf.get("k")
        error = caught.value
        assert isinstance(error, handfast.UnavailableError)
        assert error.code == "UNAVAILABLE" and error.retryable
        assert nobody in str(error)
        with pytest.raises(handfast.HandfastError):
            with hf.lock("l"):
                pytest.fail("entered without the lock")
        with pytest.raises(handfast.HandfastError):
            hf.watch("k")


async def test_an_unreachable_server_asyncio(nobody):
    async with handfast.aio.connect(nobody, timeout=0.5) as hf:
        with pytest.raises(handfast.UnavailableError):
            await hf.get("k")


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
