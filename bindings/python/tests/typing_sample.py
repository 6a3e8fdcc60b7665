"""A program as a user would write it; `mypy --strict` and pyright in strict mode must have nothing
to say about it."""

from __future__ import annotations

from dataclasses import dataclass

import handfast
from handfast import Compare, Op, aio
from handfast.testing import FaultyServer


@dataclass(frozen=True)
class App:
    workers: int
    hosts: list[str]


def told(waiting: handfast.Waiting) -> None:
    print(waiting.ahead, waiting.holder.token if waiting.holder is not None else "nobody")


def sync_program(endpoint: str) -> int:
    with handfast.connect(endpoint, ttl=5, namespace="app/") as hf:
        pair = hf.get("k")
        text: str = pair.text if pair is not None else ""
        result = hf.txn(
            when=[Compare.missing("k")], then=[Op.put("k", text)], otherwise=[Op.get("k")]
        )
        if not result.succeeded and (found := result.kv()) is not None:
            text = found.text
        with hf.lock("l", timeout=30, max_hold=60, on_wait=told) as lock:
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
        terms: int = hf.election("e", on_wait=told).run(lambda term: term.token, again=True)
        print(terms)
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
        reason = ""
        try:
            async with hf.lock("l", timeout=30) as lock:
                await lock.put("k", text)
                reason = await lock.wait_lost()
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


def sync_recipes(hf: handfast.Client) -> int:
    with hf.multi_lock(["a", "b"], timeout=5) as both:
        names: tuple[bytes, ...] = both.names
        print(names, both.token)
    queue = hf.queue("img")
    if queue.push("x", id="1", after=["0"]).duplicate:
        print(queue.why("1").reasons)
    for claim in queue.consume(max_attempts=3, timeout=1):
        with claim:
            attempt: int = claim.attempt
            claim.ack(put={f"out/{claim.id}": claim.payload})
            print(attempt)
    for claim in queue:
        following: handfast.Claim | None = claim.ack_and_next(put={"out": "1"}).next
        print(following.id if following else "none just now")
    with hf.service("api").register("n1", "10.0.0.5:80", weight=3) as registration:
        registration.update(status="draining")
    with hf.discover("api") as api, api.pick("hash", key="k") as picked:
        address: str = picked.addr
        print(address, [one.zone for one in api.list()])
    with hf.config("app", type=App, default=App(1, [])) as config:
        app: App = config.value
        stop = config.on_change(lambda changed: print(changed.workers))
        stop()
        for app in config:
            print(app.hosts)
        for event in config.changes():
            print(event.value.workers if event.value is not None else event.problem)
    revision: int = hf.publish("app", App(2, ["a"]), unchanged_since=config.revision)

    def build(held: handfast.Held) -> str:
        held.check()
        return "index"

    return revision + len(hf.once("index", input="v1").get_or_run(build).text)


async def async_recipes(hf: aio.AsyncClient) -> None:
    async with hf.multi_lock(["a", "b"]) as both:
        print(both.died)
    async for claim in hf.queue("img"):
        async with claim:
            await claim.ack(put={"out": claim.text})
    if one := await hf.queue("img").claim(timeout=1):
        revision, following = await one.ack_and_next()
        at: int = revision
        if following is not None:
            await following.nack(f"after {at}")
    async with hf.service("api").register("n1", "10.0.0.5:80") as registration:
        print(registration.state.kind)
    async with hf.discover("api") as api, api.changes() as changes:
        async for change in changes:
            print(change.kind, change.instance.metadata.get("shard"))
    async for app in hf.config("app", type=App):
        workers: int = app.workers
        print(workers)

    async def build(held: aio.Held) -> bytes:
        return str(held.token).encode()

    result: handfast.OnceResult = await hf.once("index").get_or_run(build)
    print(result.ran)


async def session(hf: aio.AsyncClient) -> None:
    async with hf.session.states() as states:
        async for state in states:
            print(state.kind, state.remaining or 0.0, state.reason)
    swapped: handfast.CasResult = await hf.cas("k", await hf.get("k"), "v")
    print(swapped.succeeded, swapped.current.text if swapped.current else "")
    term: aio.Term = await hf.election("e", max_hold=60).campaign()
    print(term.token, await hf.once("index").forget())

    async def lead(leading: aio.Term) -> str:
        await leading.proclaim("n1, ready")
        return str(leading.token)

    done: str = await hf.election("e", on_wait=told).run(lead, timeout=5, again=True)
    print(done)


def test_a_fault(handfast_server: FaultyServer) -> None:
    with handfast_server.connect(app="app", beat=30) as hf:
        hf.beat()
        member: handfast.Member | None = hf.election("e").break_leader("it hung")
        print(hf.session.remaining(), member)
    with handfast_server.silent():
        print(handfast_server.expire("app"), handfast_server.compact())
