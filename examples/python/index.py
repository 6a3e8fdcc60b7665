"""An index that is built once, by whoever leads, and shared by all; with asyncio.

Run it: `python index.py` starts a server of its own; `python index.py ENDPOINT` uses another one.

Three nodes stand for election. Whoever leads builds the index, unless there is one; the leaders
after it find it built. The others wait for the same result without leading.
"""

from __future__ import annotations

import asyncio
import sys

import handfast
from handfast import aio

NODES = ["n1", "n2", "n3"]
DOCUMENTS = {"one": "lock and lease", "two": "lease and watch"}


async def build(held: aio.Held) -> str:
    """The expensive part. It is cancelled if somebody else may do it."""
    words: dict[str, list[str]] = {}
    for name, text in DOCUMENTS.items():
        for word in text.split():
            words.setdefault(word, []).append(name)
        await asyncio.sleep(0)
    return ";".join(f"{word}:{','.join(words[word])}" for word in sorted(words))


async def node(endpoint: str, name: str) -> bool:
    """Lead once; whether this node has built the index."""
    async with aio.connect(endpoint, app=name) as hf:
        async with hf.election("indexer", value=name).lead() as term:
            result = await hf.once("index", input=repr(DOCUMENTS)).get_or_run(build)
            await term.put("index.by", name)
            return result.ran


async def reader(endpoint: str) -> str:
    async with aio.connect(endpoint) as hf:
        return (await hf.once("index", input=repr(DOCUMENTS)).wait()).text


async def main(endpoint: str) -> None:
    reading = asyncio.create_task(reader(endpoint))
    built = await asyncio.gather(*[node(endpoint, name) for name in NODES])
    print(f"{len(built)} led, {sum(built)} built the index")
    for line in (await reading).split(";"):
        print(line)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with handfast.Server() as server:
            asyncio.run(main(server.endpoint))
