"""Plays steps against the asyncio client: server, clients, tasks and keys."""

from __future__ import annotations

import asyncio
import json
import operator
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import handfast
from handfast.testing import FaultyServer

FOLDER = Path(__file__).parents[4] / "tests" / "conformance"
LIMIT = 120.0
COMPARISONS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
# Verbs with a body that is entered and left.
SCOPED = {"within", "process", "once", "lead"}

Step = dict[str, Any]


def scenarios() -> dict[str, Step]:
    """All scenarios by their ids."""
    files = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return {one["id"]: one for file in files for one in file["scenarios"]}


class Own(Exception):
    """An error of the body's own."""


class Background:
    """A step under way, and the scope it may be in."""

    def __init__(self) -> None:
        self.times = 0
        # What was held each time.
        create_future = asyncio.get_running_loop().create_future
        self.entered: defaultdict[int, asyncio.Future[Any]] = defaultdict(create_future)
        self.left = asyncio.Event()
        self.task: asyncio.Task[Any]

    async def body(self, step: Step, held: Any) -> None:
        """What runs inside the scope."""
        self.times += 1
        self.entered[self.times].set_result(held)
        match step.get("body"):
            case "raise":
                raise Own
            case "stay":
                await self.left.wait()


class Player:
    """One scenario, its server and what its steps have named. A verb is a method `do_<verb>`."""

    def __init__(self, server: FaultyServer, stack: AsyncExitStack, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.stack = stack
        self.known: dict[str, Any] = {}
        self.tasks: dict[str, Background] = {}

    async def play(self, steps: list[Step]) -> None:
        for number, given in enumerate(steps):
            step = {name: self.resolved(value) for name, value in given.items()}
            try:
                async with asyncio.timeout(LIMIT):
                    await self.step(step)
            except Exception as error:
                error.add_note(f"step {number}: {given}")
                raise

    async def step(self, step: Step) -> None:
        if "start" in step:
            under_way = self.tasks[step["start"]] = Background()
            under_way.task = asyncio.create_task(self.verb(step, under_way))
            self.stack.push_async_callback(self.end, under_way)
            # So that its call is made.
            await asyncio.sleep(0)
            return
        while True:
            try:
                await self.attempt(step)
                return
            except AssertionError:
                if not step.get("eventually"):
                    raise
                await asyncio.sleep(0.02)

    async def attempt(self, step: Step) -> None:
        """Does the step and looks at the outcome."""
        try:
            result = await self.verb(step, Background())
        except (handfast.HandfastError, Own, asyncio.CancelledError) as error:
            if "fails" not in step or asyncio.current_task().cancelling():
                raise
            self.compare_failure(step["fails"], error)
            return
        assert "fails" not in step, f"gave {result!r}"
        if "gives" in step:
            wanted = step["gives"]
            choice = wanted["any"] if isinstance(wanted, dict) else [wanted]
            assert result in choice, f"gave {result!r}"
        if "as" in step:
            self.known[step["as"]] = result

    def compare_failure(self, wanted: str | list[str] | Step, error: BaseException) -> None:
        if not isinstance(wanted, dict):
            wanted = {"code": wanted}
        code = getattr(error, "code", "OWN" if isinstance(error, Own) else "CANCELLED")
        codes = wanted["code"]
        assert code in ([codes] if isinstance(codes, str) else codes), f"failed with {error!r}"
        details = getattr(error, "details", {})
        for name, value in wanted.get("details", {}).items():
            assert name in details and value in (None, details[name]), f"{details}"

    async def verb(self, step: Step, under_way: Background) -> Any:
        do: Callable[..., Awaitable[Any]] = getattr(self, "do_" + step["do"])
        if step["do"] in SCOPED:
            return await do(step, under_way)
        return await do(step)

    def resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.resolved(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.resolved(inner) for inner in value]
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        name, *fields = value[1:].split(".")
        found = self.known[name]
        for field in fields:
            found = getattr(found, field)
        return found

    def client(self, step: Step) -> handfast.aio.AsyncClient:
        return self.known[step["client"]]

    async def end(self, under_way: Background) -> None:
        under_way.task.cancel()
        await asyncio.gather(under_way.task, return_exceptions=True)

    async def opened(self, thing: Any) -> Any:
        """Something that is closed at the end."""
        made = await thing
        self.stack.push_async_callback(made.close)
        return made

    # Server, clients, tasks.

    async def do_connect(self, step: Step) -> Any:
        # On a machine that is busy; what a scenario is not about has time.
        options = {name: step.get(name, 60) for name in ["ttl", "timeout"]}
        endpoint = self.server.endpoint
        client = await handfast.aio.connect(endpoint, app=step["as"], **options)

        async def close() -> None:
            # Of a server that is gone nothing can be expected.
            await asyncio.gather(client.close(), return_exceptions=True)

        self.stack.push_async_callback(close)
        return client

    async def do_close(self, step: Step) -> None:
        await self.known[step["on"]].close()

    async def do_expire(self, step: Step) -> None:
        assert await asyncio.to_thread(self.server.expire, step["client"]) > 0

    async def do_restart(self, step: Step) -> None:
        await asyncio.to_thread(self.server.restart)

    async def do_stop(self, step: Step) -> None:
        await asyncio.to_thread(self.server.stop)

    async def do_disconnect(self, step: Step) -> None:
        self.server.disconnect()

    async def do_pause(self, step: Step) -> None:
        self.server.pause()

    async def do_resume(self, step: Step) -> None:
        self.server.resume()

    async def do_compact(self, step: Step) -> None:
        await asyncio.to_thread(self.server.compact)

    async def do_wait(self, step: Step) -> Any:
        under_way = self.tasks[step["task"]]
        return await asyncio.shield(under_way.task)

    async def do_cancel(self, step: Step) -> None:
        self.tasks[step["task"]].task.cancel()

    async def do_running(self, step: Step) -> bool:
        return not self.tasks[step["task"]].task.done()

    async def do_tick(self, step: Step) -> None:
        for _ in range(10):
            await asyncio.sleep(0.001)

    async def do_compare(self, step: Step) -> None:
        left, right = step["left"], step["right"]
        assert COMPARISONS[step["is"]](left, right), f"{left} {step['is']} {right}"

    # Keys.

    async def do_put(self, step: Step) -> None:
        on = self.known[step["on"]] if "on" in step else self.client(step)
        await on.put(step["key"], step["value"])

    async def do_get(self, step: Step) -> str | None:
        pair = await self.client(step).get(step["key"])
        return None if pair is None else pair.text

    async def do_delete(self, step: Step) -> None:
        await self.client(step).delete(step["key"])

    async def do_count(self, step: Step) -> int:
        return (await self.client(step).range(step["prefix"], prefix=True)).count

    async def do_put_many(self, step: Step) -> None:
        for number in range(step["count"]):
            await self.client(step).put(f"{step['prefix']}{number + 1}", "v")

    async def do_watch(self, step: Step) -> Any:
        start = step.get("start_revision", 0)
        watch = self.client(step).watch(step["prefix"], prefix=True, start_revision=start)
        return await self.opened(watch)

    async def do_take(self, step: Step) -> int:
        taken = [await anext(self.known[step["on"]]) for _ in range(step["count"])]
        revisions = [event.revision for event in taken]
        return len(revisions) if revisions == sorted(set(revisions)) else 0

    async def do_next(self, step: Step) -> Any:
        return shown(await anext(self.known[step["on"]]))

    async def do_release(self, step: Step) -> None:
        held = self.known[step["on"]]
        await (held.resign() if isinstance(held, handfast.aio.Term) else held.release())

    async def do_entered(self, step: Step) -> Any:
        return await self.tasks[step["task"]].entered[step.get("times", 1)]

    async def do_leave(self, step: Step) -> None:
        self.tasks[step["task"]].left.set()


def shown(item: Any) -> Any:
    """What comes out of a stream, as JSON."""
    if isinstance(item, handfast.ConfigEvent):
        return [item.kind, item.value]
    if isinstance(item, handfast.ServiceChange):
        return [item.kind, item.instance.id]
    return getattr(item, "text", item)
