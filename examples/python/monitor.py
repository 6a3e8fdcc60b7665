"""Cluster monitoring: a node goes, and whoever watches is told how; with asyncio.

Run it: `python monitor.py` starts a server of its own and three nodes; `python monitor.py
ENDPOINT` uses another server.

Each node is a process that registers. One of them leaves in order, one is killed: its session
ends after its TTL, and the watcher learns that it died.
"""

from __future__ import annotations

import asyncio
import sys

import handfast
from handfast import aio

SERVICE = "nodes"
TTL = 2.0


async def node(endpoint: str, name: str) -> None:
    """Be there until standard input ends."""
    async with aio.connect(endpoint, app=name, ttl=TTL) as hf:
        async with hf.service(SERVICE).register(name, f"{name}:80", zone="a"):
            print("here", flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def start(endpoint: str, name: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, endpoint, name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def main(endpoint: str) -> None:
    async with aio.connect(endpoint) as hf, hf.discover(SERVICE, guard=0) as nodes:
        async with nodes.changes() as changes:
            processes = {name: await start(endpoint, name) for name in ["n1", "n2", "n3"]}
            try:
                for _ in processes:
                    change = await anext(changes)
                    print(change.instance.id, change.kind)
                leaving = processes["n1"].stdin
                assert leaving is not None
                leaving.close()
                change = await anext(changes)
                print(change.instance.id, change.kind)
                processes["n2"].kill()
                change = await anext(changes)
                print(change.instance.id, change.kind)
                print("left over:", *[one.id for one in nodes.list()])
            finally:
                for process in processes.values():
                    if process.returncode is None:
                        process.kill()
                    await process.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [endpoint, name]:
            asyncio.run(node(endpoint, name))
        case [endpoint]:
            asyncio.run(main(endpoint))
        case _:
            with handfast.Server() as server:
                asyncio.run(main(server.endpoint))
