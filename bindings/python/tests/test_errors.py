"""Errors: their classes, codes and words."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import fractions
import pickle
import re
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


# What takes seconds, by the name of the argument.
TAKES_SECONDS = {
    "timeout": [
        lambda hf, given: hf.lock("l", timeout=given).acquire(),
        lambda hf, given: hf.multi_lock(["l", "m"], timeout=given).acquire(),
        lambda hf, given: hf.election("e").campaign(timeout=given),
        lambda hf, given: hf.election("e").run(print, timeout=given),
        lambda hf, given: hf.queue("q").claim(timeout=given),
        lambda hf, given: hf.once("o", timeout=given).get_or_run(print),
        lambda hf, given: hf.watch("k").next(timeout=given),
        lambda hf, given: hf.discover("s").pick(timeout=given),
        lambda hf, given: handfast.connect(timeout=given),
    ],
    "ttl": [
        lambda hf, given: handfast.connect(ttl=given),
        lambda hf, given: hf.lease(given),
    ],
    "max_hold": [lambda hf, given: hf.try_lock("l", max_hold=given)],
    "beat": [lambda hf, given: hf.election("e", beat=given).campaign()],
    "patience": [lambda hf, given: hf.config("c", default=1, patience=given)],
    "guard": [lambda hf, given: hf.discover("s", guard=given)],
    "wait": [lambda hf, given: hf.service("s").register("i", "a:1", wait=given)],
}
TAKERS = [(name, call) for name, calls in TAKES_SECONDS.items() for call in calls]


@pytest.mark.parametrize(("argument", "call"), TAKERS)
def test_what_is_no_number_of_seconds_is_refused_with_its_name(hf, argument, call):
    for given in ["3", True, {}, datetime.timedelta(seconds=3)]:
        told = f"^{argument} is (whole )?seconds as int( or float)?, not "
        told += re.escape(f"{type(given).__name__}: {given!r}") + "$"
        with pytest.raises(TypeError, match=told):
            call(hf, given)
    for given in [-1, 10**400]:
        with pytest.raises(ValueError, match=f"^{argument}: ") as caught:
            call(hf, given)
        assert isinstance(caught.value, handfast.InvalidArgumentError)
        assert caught.value.details == {"argument": argument}


@pytest.mark.parametrize("given", [-0.5, float("nan"), float("inf"), 1e300])
def test_what_no_clock_can_count_is_refused(hf, given):
    with pytest.raises(handfast.InvalidArgumentError) as caught:
        hf.lock("l", timeout=given).acquire()
    assert str(caught.value) == f"timeout: {given} is not a number of seconds from 0 on"


def test_seconds_are_any_number(hf, name):
    for number, given in enumerate([30, 30.5, fractions.Fraction(61, 2), decimal.Decimal("30.5")]):
        with hf.lock(f"{name}.{number}", timeout=given):
            pass


async def test_asyncio_refuses_what_is_no_number_of_seconds(ahf):
    for given in ["3", False, -1]:
        kind = TypeError if isinstance(given, str | bool) else ValueError
        with pytest.raises(kind, match="^timeout"):
            async with ahf.lock("l", timeout=given):
                pytest.fail("entered")
        with pytest.raises(kind, match="^timeout"):
            await ahf.election("e").campaign(timeout=given)
        with pytest.raises(kind, match="^timeout"):
            await ahf.queue("q").claim(timeout=given)
        with pytest.raises(kind, match="^ttl"):
            await ahf.lease(given)
        with pytest.raises(kind, match="^ttl"):
            await handfast.aio.connect(ttl=given)


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
