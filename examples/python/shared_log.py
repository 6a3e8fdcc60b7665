"""Exclusive and ordered: processes append to one log under a lock, in the order they came.

Run it: `python shared_log.py` starts a server of its own; `python shared_log.py ENDPOINT` uses
another one.

Who waits is served first come, first served. Two logs that belong together are locked together,
whatever the order they are named in: nobody waits for somebody who waits for them.
"""

from __future__ import annotations

import asyncio
import sys

import handfast
from handfast import aio

LOG = "log/audit"


async def append(hf: aio.AsyncClient, who: str, arrived: asyncio.Event) -> None:
    lock = hf.lock(LOG, timeout=60)
    arrived.set()
    async with lock as held:
        pair = await hf.get(LOG + ".text")
        before = pair.text if pair is not None else ""
        # Refused by the store if the lock is lost by now.
        await held.put(LOG + ".text", f"{before} {who}".strip())


async def in_order(hf: aio.AsyncClient) -> None:
    async with hf.lock(LOG):
        tasks = []
        for who in ["ada", "bob", "cyd"]:
            arrived = asyncio.Event()
            tasks.append(asyncio.create_task(append(hf, who, arrived)))
            await arrived.wait()
            while len((await hf.lock(LOG).line()).waiters) < len(tasks):
                await asyncio.sleep(0.01)
        print("waiting:", len(tasks))
    await asyncio.gather(*tasks)
    pair = await hf.get(LOG + ".text")
    print("written by:", pair.text if pair is not None else "nobody")


async def both(hf: aio.AsyncClient, names: list[str]) -> None:
    async with hf.multi_lock(names, timeout=60) as held:
        await held.put("log/both", names[0])


async def together(hf: aio.AsyncClient) -> None:
    await asyncio.gather(*[both(hf, [f"log/{a}", f"log/{b}"]) for a, b in ["xy", "yx", "xy"]])
    print("no deadlock")


async def main(endpoint: str) -> None:
    async with aio.connect(endpoint) as hf:
        await in_order(hf)
        await together(hf)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with handfast.Server() as server:
            asyncio.run(main(server.endpoint))
