"""Three candidates, one leader at a time, and somebody who watches; with asyncio.

Run it: `python election.py` starts a server of its own; `python election.py ENDPOINT` uses
another one.
"""

from __future__ import annotations

import asyncio
import sys

import handfast
from handfast import aio

NAME = "indexer"
CANDIDATES = ["n1", "n2", "n3"]


async def candidate(endpoint: str, name: str) -> None:
    """Lead once. The body would be cancelled if the leadership were lost."""
    async with aio.connect(endpoint, app=name) as hf:
        async with hf.election(NAME, value=name).lead() as term:
            print(f"{name} leads")
            await term.proclaim(f"{name}, ready")
            # The store refuses this when another one leads by now.
            await term.put("indexer.by", name)


async def main(endpoint: str) -> None:
    async with aio.connect(endpoint) as hf, hf.election(NAME).observe() as leaders:
        async with asyncio.TaskGroup() as group:
            for name in CANDIDATES:
                group.create_task(candidate(endpoint, name))
        # Leaders that came and went unseen are left out; the end of it is seen for certain.
        async for leader in leaders:
            if leader is None:
                break
        by = await hf.get("indexer.by")
        print("last:", by.text if by is not None else "nobody")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with handfast.Server() as server:
            asyncio.run(main(server.endpoint))
