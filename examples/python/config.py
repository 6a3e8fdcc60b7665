"""Configuration that is published once and in force everywhere, typed and checked; with asyncio.

Run it: `python config.py` starts a server of its own; `python config.py ENDPOINT` uses another
one.

Two programs follow the same key. Each takes over what it accepts: a value of the wrong type, or
one that the check refuses, leaves the one before it in force.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import handfast
from handfast import aio

KEY = "app/limits"


@dataclass(frozen=True)
class Limits:
    requests: int
    hosts: list[str]
    burst: float = 1.0


def check(limits: Limits) -> None:
    if limits.requests > 1000:
        raise ValueError("that is more than one machine can do")


async def program(endpoint: str, name: str, last: int, begun: asyncio.Event) -> list[str]:
    """Follow the configuration until `last` is in force."""
    seen = []
    async with aio.connect(endpoint, app=name) as hf:
        async for limits in hf.config(KEY, type=Limits, validate=check):
            begun.set()
            seen.append(f"{name}: {limits.requests} requests at {len(limits.hosts)} hosts")
            if limits.requests == last:
                return seen
    return seen


async def main(endpoint: str) -> None:
    async with aio.connect(endpoint, app="console") as hf:
        first = await hf.publish(KEY, Limits(100, ["a"]), note="to begin with")
        async with hf.config(KEY, type=Limits, validate=check) as config:
            begun = {name: asyncio.Event() for name in ["web", "batch"]}
            programs = [
                asyncio.create_task(program(endpoint, name, 300, event))
                for name, event in begun.items()
            ]
            # A program that starts while a refused value is published has nothing to begin with.
            await asyncio.gather(*(event.wait() for event in begun.values()))
            for value in [Limits(200, ["a", "b"]), {"requests": "many"}, Limits(5000, [])]:
                await config.at_least(await hf.publish(KEY, value))
                print(f"in force: {config.value.requests}", end="")
                print(f", refused: {config.refused.text}" if config.refused else "")
            try:
                await hf.publish(KEY, Limits(1, []), unchanged_since=first)
            except handfast.PublishConflictError:
                print("somebody else has published since")
            await hf.publish(KEY, Limits(300, ["a", "b", "c"]), note="the real thing")
            for told in await asyncio.gather(*programs):
                print(told[-1])
            publication = await hf.publication(KEY)
            if publication is not None:
                print(f"by {publication.by}: {publication.note}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with handfast.Server() as server:
            asyncio.run(main(server.endpoint))
