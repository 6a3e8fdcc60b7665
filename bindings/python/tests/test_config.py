"""Configurations: typed, checked, followed, published at one revision, kept on disk."""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
from dataclasses import dataclass, field
from typing import Literal

import handfast
import pytest
from handfast._typed import ConfigTypeError, from_json


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


@dataclass(frozen=True)
class Limits:
    requests: int
    burst: float = 1.5


@dataclass(frozen=True)
class App:
    name: str
    limits: Limits
    mode: Mode = Mode.SAFE
    hosts: list[str] = field(default_factory=list)


GOOD = App("web", Limits(10), Mode.FAST, ["a", "b"])


def test_a_typed_value_follows_what_is_published(hf, other, name):
    revision = other.publish(name, GOOD, note="first")
    with hf.config(name, type=App) as config:
        assert (config.value, config.revision, config.source) == (GOOD, revision, "server")
        assert other.publication(name).note == "first"
        values = iter(config)
        assert next(values) == GOOD
        newer = App("web", Limits(20))
        config.at_least(other.publish(name, newer))
        assert config.value == newer and config.stale_for() == 0
        assert next(values) == newer
    assert list(values) == []
    with pytest.raises(handfast.ClosedError):
        config.value


def test_what_the_program_refuses_stays_out(hf, other, name):
    def check(app: App) -> None:
        if app.limits.requests > 100:
            raise ValueError("more than the machine can do")

    other.publish(name, GOOD)
    with hf.config(name, type=App, validate=check) as config:
        bad = other.publish(name, App("web", Limits(101)))
        config.at_least(bad)
        assert config.value == GOOD
        assert config.refused.text == (
            "it is refused by the program: validate() raised ValueError: "
            "more than the machine can do"
        )
        assert (config.refused.kind, config.refused.revision) == ("invalid", bad)
        config.at_least(other.publish(name, "no JSON"))
        assert config.value == GOOD and len(config.problems) == 2
        assert config.refused.kind == "undecodable"
        config.at_least(other.publish(name, {"name": "web", "limits": {"requests": "7"}}))
        assert "the value.limits.requests is to be int" in config.refused.text
        config.at_least(other.publish(name, GOOD))
        assert config.refused is None
    with pytest.raises(handfast.ConfigRefusedError) as caught:
        hf.config(name, type=list[int])
    assert isinstance(caught.value, ValueError)


def test_a_refusal_without_words_names_the_function(hf, name):
    hf.publish(name, 7)
    with pytest.raises(handfast.ConfigRefusedError) as caught:
        hf.config(name, type=int, validate=lambda value: value < 5)
    assert "refused by the program: validate() returned False" in str(caught.value)
    assert "decoded" not in str(caught.value)


def test_without_a_value(hf, other, name):
    with pytest.raises(handfast.ConfigRefusedError, match="nothing is published"):
        hf.config(name)
    with hf.config(name, default=None) as config:
        assert (config.value, config.source) == (None, "default")
        config.at_least(other.publish(name, b"[1, 2]"))
        assert config.value == [1, 2]


def test_several_keys_change_at_once(hf, other, name):
    limits = {"requests": 5, "burst": 2.0}
    other.publish(f"{name}/", limits, prefix=True)
    with hf.config(f"{name}/", type=Limits, prefix=True) as config:
        assert config.value == Limits(5, 2.0)
        with config.changes() as events:
            assert next(events).kind == "applied"
            other.publish(f"{name}/", {"requests": 6, "burst": None}, prefix=True)
            event = next(events)
            assert event.value == Limits(6, 1.5) and set(event.names) == {"requests", "burst"}
            other.publish(f"{name}/", {"requests": "six"}, prefix=True)
            assert next(events).problem.kind == "undecodable"
    with hf.config(f"{name}/", type=dict[str, bytes], prefix=True) as raw:
        assert raw.value == {"requests": b'"six"'}


def test_who_publishes_on_top_of_the_unseen_is_refused(hf, other, name):
    before = other.publish(name, [1])
    with hf.config(name, type=list[int]) as config:
        config.at_least(config.publish([1, 2]))
        with pytest.raises(handfast.PublishConflictError) as caught:
            other.publish(name, [3], unchanged_since=before)
        assert caught.value.code == "CONFLICT" and not caught.value.retryable
        assert config.value == [1, 2]


def test_a_callback_that_raises_is_told_the_next_value(hf, other, name, caplog):
    other.publish(name, 1)
    seen: list[int] = []
    arrived = threading.Event()

    def reload(value: int) -> None:
        seen.append(value)
        if value == 3:
            arrived.set()
        else:
            raise ZeroDivisionError("a bug of the program")

    with hf.config(name, type=int) as config, caplog.at_level(logging.ERROR, "handfast"):
        stop = config.on_change(reload)
        config.at_least(other.publish(name, 2))
        while not seen:
            arrived.wait(0.01)
        other.publish(name, 3)
        assert arrived.wait(60)
        stop()
    assert seen == [2, 3]
    assert "a bug of the program" in caplog.text


def test_a_snapshot_starts_a_program_without_a_server(handfast_server, tmp_path):
    snapshot = tmp_path / "config"
    with handfast.connect(handfast_server.endpoint, timeout=0.5) as hf:
        hf.publish("app", GOOD)
        with hf.config("app", type=App, snapshot=snapshot) as config:
            config.saved()
    handfast_server.stop()
    with handfast.connect(handfast_server.endpoint, timeout=0.5) as hf:
        with pytest.raises(handfast.HandfastError):
            hf.config("app", type=App)
        with hf.config("app", type=App, snapshot=snapshot, patience=0.1) as config:
            assert (config.value, config.source) == (GOOD, "snapshot")
            assert config.stale_for() > 0
            with config.changes() as events:
                next(events)
                handfast_server.restart()
                while config.source != "server":
                    assert next(events).kind != "problem"
                assert config.value == GOOD


async def test_asyncio(ahf, name):
    await ahf.publish(name, GOOD)
    async with ahf.config(name, type=App) as config:
        assert config.value == GOOD
        async with config.changes() as events:
            assert (await anext(events)).value == GOOD
            await config.at_least(await config.publish(App("web", Limits(1)), note="less"))
            assert (await anext(events)).value.limits == Limits(1)
        assert (await ahf.publication(name)).note == "less"
    config = await ahf.config(name, type=dict)
    assert config.value["name"] == "web"
    await config.close()


async def test_an_asyncio_callback_that_raises_is_told_the_next_value(ahf, name, caplog):
    await ahf.publish(name, 1)
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def reload(value: int) -> None:
        await seen.put(value)
        raise ZeroDivisionError("a bug of the program")

    async with ahf.config(name, type=int) as config:
        with caplog.at_level(logging.ERROR, "handfast"):
            stop = config.on_change(reload)
            for value in [2, 3]:
                await asyncio.sleep(0)
                await ahf.publish(name, value)
                assert await asyncio.wait_for(seen.get(), 60) == value
            stop()
    assert "a bug of the program" in caplog.text


async def test_async_for_gives_the_values(ahf, name):
    await ahf.publish(name, 1)
    seen = []
    async for value in ahf.config(name, type=int):
        seen.append(value)
        if value == 3:
            break
        await ahf.publish(name, value + 1)
    assert seen == [1, 2, 3]


async def test_a_wait_for_a_value_can_be_cancelled(ahf, name):
    await ahf.publish(name, 1)
    async with ahf.config(name, type=int) as config, config.changes() as events:
        await anext(events)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(events)
        await ahf.publish(name, 2)
        assert (await anext(events)).value == 2


@pytest.mark.parametrize(
    ("wanted", "value", "made"),
    [
        (int | None, None, None),
        (float, 1, 1.0),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[str], ["a"], {"a"}),
        (dict[str, Limits], {"a": {"requests": 1}}, {"a": Limits(1)}),
        (Literal["x", 1], "x", "x"),
        (list, [1, "a"], [1, "a"]),
        (Limits, {"requests": 1, "newer": True}, Limits(1)),
    ],
)
def test_types(wanted, value, made):
    assert from_json(wanted, value) == made


@pytest.mark.parametrize(
    ("wanted", "value", "words"),
    [
        (int, True, "the value is to be int, not true"),
        (int, 1.0, "not 1.0"),
        (str, None, "not null"),
        (Mode, "slow", "Mode"),
        (list[int], [1, "2"], r"the value\[1\]"),
        (tuple[int, str], [1], "tuple"),
        (Limits, {"burst": 1}, "the value.requests is missing"),
        (int | None, "1", "not"),
        (Literal["x"], "y", "not"),
        (dict[str, int], {"a": "b"}, "the value.a"),
    ],
)
def test_what_does_not_fit(wanted, value, words):
    with pytest.raises(ConfigTypeError, match=words):
        from_json(wanted, value)
