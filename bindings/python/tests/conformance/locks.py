"""The verbs of locks and elections."""

from __future__ import annotations

import asyncio
from typing import Any

import handfast

from .player import Background, Player, Step


class Locks(Player):
    """Locks, multi-locks and elections."""

    def options(self, step: Step, *names: str) -> dict[str, Any]:
        """Those options that the step has; what it is told goes to the list that it names."""
        options = {name: step[name] for name in names if name in step}
        if "tells" in step:
            told: list[handfast.Waiting] = []
            self.known[step["tells"]] = told
            options["on_wait"] = told.append
        return options

    def lock(self, step: Step) -> handfast.aio.Lock:
        options = self.options(step, "timeout", "max_hold")
        return self.client(step).lock(step["name"], **options)

    async def do_told(self, step: Step) -> list[Any] | None:
        told = self.known[step["on"]]
        if not told:
            return None
        holder = told[-1].holder
        return [told[-1].name.decode(), told[-1].position, holder and holder.token]

    async def do_lock(self, step: Step) -> Any:
        return await self.lock(step)

    async def do_try_lock(self, step: Step) -> Any:
        return await self.client(step).try_lock(step["name"]) or None

    async def do_within(self, step: Step, under_way: Background) -> None:
        async with self.lock(step) as held:
            await under_way.body({"body": "stay", **step}, held)

    async def do_check(self, step: Step) -> None:
        self.known[step["on"]].check()

    async def do_lost(self, step: Step) -> str:
        return await self.known[step["on"]].wait_lost()

    async def do_line(self, step: Step) -> int:
        return len((await self.client(step).lock(step["name"]).line()).members)

    async def do_break(self, step: Step) -> None:
        await self.client(step).lock(step["name"]).break_holder(step["why"])

    async def do_multi_lock(self, step: Step) -> Any:
        return await self.client(step).multi_lock(step["names"], **self.options(step, "timeout"))

    async def do_crowd(self, step: Step) -> int:
        holders = done = 0

        async def one() -> None:
            nonlocal holders, done
            async with self.client(step).lock(step["name"]):
                holders += 1
                assert holders == 1
                await asyncio.sleep(0)
                holders -= 1
                done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(step["count"]):
                group.create_task(one())
        return done

    def election(self, step: Step) -> handfast.aio.Election:
        options = self.options(step, "value")
        return self.client(step).election(step["name"], **options)

    async def do_campaign(self, step: Step) -> Any:
        return await self.election(step).campaign(timeout=step.get("timeout"))

    async def do_lead(self, step: Step, under_way: Background) -> None:
        async def work(term: handfast.aio.Term) -> None:
            await under_way.body({"body": "stay", **step}, term)

        await self.election(step).run(work, again=step.get("again", False))

    async def do_proclaim(self, step: Step) -> None:
        await self.known[step["on"]].proclaim(step["value"])

    async def do_leader(self, step: Step) -> str | None:
        leader = await self.election(step).leader()
        return None if leader is None else leader.text

    async def do_candidates(self, step: Step) -> int:
        return len((await self.election(step).candidates()).members)

    async def do_observe(self, step: Step) -> Any:
        return await self.opened(self.election(step).observe())
