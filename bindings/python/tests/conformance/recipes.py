"""The verbs of queues, services, configurations and work that is done once."""

from __future__ import annotations

from typing import Any

import handfast

from .player import Background, Player, Step

TYPES: dict[str | None, Any] = {None: Any, "int": int, "strings": list[str]}


def some(step: Step, *names: str) -> dict[str, Any]:
    """Those arguments that the step has."""
    return {name: step[name] for name in names if name in step}


class Queues(Player):
    """Queues."""

    def queue(self, step: Step) -> handfast.aio.Queue:
        return self.client(step).queue(step["name"])

    async def do_push(self, step: Step) -> Any:
        options = some(step, "id", "after", "gate", "opens")
        return await self.queue(step).push(step["payload"], **options)

    async def do_claim(self, step: Step) -> Any:
        return await self.queue(step).claim(**some(step, "timeout", "max_attempts"))

    async def do_ack(self, step: Step) -> None:
        await self.known[step["on"]].ack(put=step.get("put"))

    async def do_ack_and_next(self, step: Step) -> Any:
        return (await self.known[step["on"]].ack_and_next(put=step.get("put"))).next

    async def do_nack(self, step: Step) -> bool:
        return await self.known[step["on"]].nack(step["why"])

    async def do_process(self, step: Step, under_way: Background) -> None:
        claim = await self.queue(step).claim(**some(step, "max_attempts"))
        async with claim:
            await under_way.body({"body": "stay", **step}, claim)

    async def do_control(self, step: Step) -> None:
        await getattr(self.queue(step), step["word"])()

    async def do_wait_for(self, step: Step) -> None:
        await self.queue(step).wait_for(**some(step, "count", "gate", "start"))

    async def do_open_gate(self, step: Step) -> bool:
        return await self.queue(step).open_gate(step["gate"])

    async def do_items(self, step: Step) -> list[str]:
        return [item.id for item in await self.queue(step).list() if item.state != "dead"]

    async def do_why(self, step: Step) -> list[str]:
        codes = [reason.code for reason in (await self.queue(step).why(step["id"])).reasons]
        # Whether a worker waits just now is of no interest here.
        return [code for code in codes if code != "no_worker"]

    async def do_dead(self, step: Step) -> list[str]:
        return [letter.id for letter in await self.queue(step).dead()]

    async def do_retry(self, step: Step) -> bool:
        return await self.queue(step).retry(step["id"])


class Services(Player):
    """Services."""

    def service(self, step: Step) -> handfast.aio.Service:
        return self.client(step).service(step["name"])

    async def do_register(self, step: Step) -> Any:
        options = some(step, "weight", "status")
        return await self.service(step).register(step["id"], step["addr"], **options)

    async def do_unregister(self, step: Step) -> None:
        await self.known[step["on"]].unregister()

    async def do_update(self, step: Step) -> int:
        return await self.known[step["on"]].update(**some(step, "weight", "status"))

    async def do_registered(self, step: Step) -> str:
        return self.known[step["on"]].state.kind

    async def do_set_status(self, step: Step) -> int | None:
        return await self.service(step).set_status(step["id"], step["status"])

    async def do_listed(self, step: Step) -> list[str]:
        return [instance.id for instance in await self.service(step).list()]

    async def do_discover(self, step: Step) -> Any:
        return await self.opened(self.client(step).discover(step["name"]))

    async def do_found(self, step: Step) -> list[str]:
        return [instance.id for instance in self.known[step["on"]].list()]

    async def do_at_least(self, step: Step) -> None:
        await self.known[step["on"]].at_least(step["revision"])

    async def do_changes(self, step: Step) -> Any:
        return await self.opened(self.known[step["on"]].changes())

    async def do_pick(self, step: Step) -> str:
        return self.known[step["on"]].pick(step["way"], **some(step, "key")).addr

    async def do_stale(self, step: Step) -> bool:
        return self.known[step["on"]].list().stale_for > 0


class Configs(Player):
    """Configurations, and work that is done once."""

    async def do_publish(self, step: Step) -> int:
        options = some(step, "prefix", "unchanged_since")
        return await self.client(step).publish(step["key"], step["value"], **options)

    async def do_config(self, step: Step) -> Any:
        options = some(step, "prefix", "default")
        if "snapshot" in step:
            options["snapshot"] = self.folder / step["snapshot"]
        if "at_most" in step:
            options["validate"] = lambda value: value <= step["at_most"]
        wanted = TYPES[step.get("type")]
        return await self.opened(self.client(step).config(step["key"], type=wanted, **options))

    async def do_value(self, step: Step) -> Any:
        return self.known[step["on"]].value

    async def do_source(self, step: Step) -> str:
        return self.known[step["on"]].source

    async def do_refused(self, step: Step) -> str | None:
        refused = self.known[step["on"]].refused
        return None if refused is None else refused.kind

    async def do_saved(self, step: Step) -> None:
        await self.known[step["on"]].saved()

    async def do_on_change(self, step: Step) -> list[Any]:
        calls: list[Any] = []

        def called(value: Any) -> None:
            calls.append(value)
            if step.get("throws"):
                raise ZeroDivisionError

        self.stack.callback(self.known[step["on"]].on_change(called))
        return calls

    async def do_called(self, step: Step) -> list[Any]:
        return list(self.known[step["on"]])

    async def do_once(self, step: Step, under_way: Background) -> Any:
        async def work(held: Any) -> str:
            await under_way.body(step, held)
            return str(step.get("result", ""))

        options = some(step, "input", "timeout")
        return await self.client(step).once(step["name"], **options).get_or_run(work)

    async def do_once_result(self, step: Step) -> str | None:
        result = await self.client(step).once(step["name"], **some(step, "input")).get()
        return None if result is None else result.text
