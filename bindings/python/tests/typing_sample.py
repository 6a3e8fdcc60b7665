"""A program as a user would write it; `mypy --strict` must have nothing to say about it."""

from __future__ import annotations

import handfast
from handfast import Compare, Op, aio


def sync_program(endpoint: str) -> int:
    with handfast.connect(endpoint, ttl=5, namespace="app/") as hf:
        pair = hf.get("k")
        text: str = pair.text if pair is not None else ""
        result = hf.txn(
            when=[Compare.missing("k")], then=[Op.put("k", text)], otherwise=[Op.get("k")]
        )
        if not result.succeeded and (found := result.kv()) is not None:
            text = found.text
        with hf.lock("l", timeout=30, max_hold=60) as lock:
            lock.check()
            token: int = lock.token
            if not lock.lost_event.is_set():
                lock.put("k", text)
        if taken := hf.try_lock("l"):
            taken.release()
        else:
            print(taken.holder.app)
        with hf.election("e", value="n1").lead(timeout=5) as term:
            term.proclaim("n1, ready")
        with hf.watch("k", prefix=True) as events:
            for event in events:
                revision: int = event.revision
                return revision
        with hf.election("e").observe() as leaders:
            for leader in leaders:
                print(leader.text if leader is not None else "nobody")
        with hf.lease(5) as lease:
            hf.put("k", "v", lease=lease)
        return token


async def async_program(endpoint: str) -> None:
    async with aio.connect(endpoint) as hf:
        pair = await hf.get("k")
        text: str = pair.text if pair is not None else ""
        try:
            async with hf.lock("l", timeout=30) as lock:
                await lock.put("k", text)
                reason: str = await lock.wait_lost()
        except handfast.LockLostError as error:
            reason = error.reason
        except handfast.LockTimeoutError as error:
            print(error.holder, error.position)
        held = await hf.lock("l")
        await held.release()
        async with hf.watch("k", prefix=True) as events:
            async for event in events:
                print(event.kind, event.key, event.text)
        async with hf.election("e", value="n1").lead() as term:
            await term.proclaim("n2")
        async with hf.election("e").observe() as leaders:
            async for leader in leaders:
                print(leader.token if leader else None)
        async with hf.lease(5) as lease:
            await hf.put("k", "v", lease=lease)
    print(reason)
    client: aio.AsyncClient = await aio.connect(endpoint)
    await client.close()


def with_a_server() -> None:
    with handfast.Server() as server:
        print(server.endpoint, server.data_dir.name)
