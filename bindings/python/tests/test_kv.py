"""Keys, values, transactions and leases."""

from __future__ import annotations

import pickle

import handfast
import pytest
from handfast import Compare, Op


def test_put_get_delete(hf, name):
    assert hf.get(name) is None
    put = hf.put(name, "hello")
    pair = hf.get(name)
    assert pair == handfast.KeyValue(
        name.encode(), b"hello", put.revision, put.revision, 1, 0
    )
    assert (pair.text, pair.key_text) == ("hello", name)
    again = hf.put(name, b"\xff\x00", prev_kv=True)
    assert again.prev_kv == pair
    assert hf.get(name).value == b"\xff\x00"
    assert hf.get(name, revision=put.revision).text == "hello"
    gone = hf.delete(name, prev_kv=True)
    assert (gone.deleted, gone.prev_kvs[0].value) == (1, b"\xff\x00")
    assert hf.delete(name).deleted == 0


def test_compare_and_set(hf, name):
    made = hf.cas(name, None, "one")
    assert made.succeeded and made.current is None
    there = hf.cas(name, None, "two")
    assert not there.succeeded and there.current == hf.get(name)
    assert there.current.mod_revision == made.revision
    assert hf.cas(name, "one", "two").succeeded
    assert not hf.cas(name, there.current, "three").succeeded
    assert hf.cas(name, hf.get(name), "three").succeeded
    hf.delete(name)
    gone = hf.cas(name, "three", "four")
    assert (gone.succeeded, gone.current) == (False, None)


def test_ranges(hf, name):
    for number in range(5):
        hf.put(f"{name}/{number}", str(number))
    everything = hf.range(f"{name}/", prefix=True)
    assert [pair.text for pair in everything] == list("01234")
    assert (len(everything), everything.count, everything.more) == (5, 5, False)
    some = hf.range(f"{name}/", prefix=True, limit=2, keys_only=True)
    assert (len(some), some.count, some.more) == (2, 5, True)
    assert [pair.value for pair in some] == [b"", b""]
    between = hf.range(f"{name}/1", end=f"{name}/3")
    assert [pair.text for pair in between] == ["1", "2"]
    assert hf.delete(f"{name}/", prefix=True).deleted == 5


def test_txn_runs_one_branch(hf, name):
    def attempt(who: str) -> handfast.TxnResult:
        return hf.txn(
            when=[Compare.missing(name)],
            then=[Op.put(name, who)],
            otherwise=[Op.get(name), Op.delete(f"{name}/x")],
        )

    first, second = attempt("a"), attempt("b")
    assert first.succeeded and isinstance(first.results[0], handfast.PutResult)
    assert not second.succeeded
    assert second.kv().text == "a"
    assert isinstance(second.results[1], handfast.DeleteResult)
    with pytest.raises(TypeError):
        second.range(1)


def test_txn_conditions(hf, name):
    revision = hf.put(name, "v").revision
    holds = [
        Compare.exists(name),
        Compare.create_revision(name, "==", revision),
        Compare.mod_revision(name, "<", revision + 1),
        Compare.version(name, ">", 0),
        Compare.lease(name, "==", 0),
        Compare.value(name, "!=", "w"),
        Compare.version(name, "==", 1, prefix=True),
    ]
    assert hf.txn(when=holds).succeeded
    for fails in [Compare.value(name, "==", "w"), Compare.missing(name)]:
        assert not hf.txn(when=[*holds, fails]).succeeded


def test_namespace(server, hf, name):
    with handfast.connect(server.endpoint, namespace=f"{name}/") as inner:
        inner.put("k", "v")
        assert inner.get("k").key == b"k"
        with inner.lock("l") as lock:
            assert lock.key.startswith(b"l/")
    assert hf.get(f"{name}/k").text == "v"


def test_lease(hf, name, eventually):
    with hf.lease(5) as lease:
        hf.put(name, "v", lease=lease)
        assert hf.get(name).lease == lease.id
        info = lease.info()
        assert info.keys == (name.encode(),) and info.granted_ttl == 5
    assert hf.get(name) is None
    short = hf.lease(2, keep_alive=False)
    hf.put(name, "v", lease=short)
    eventually(lambda: hf.get(name) is None)


def test_a_lost_lease_is_told(handfast_server, name):
    with handfast.connect(handfast_server.endpoint, timeout=1) as hf:
        lease = hf.lease(2)
        lost = lease.lost_event
        assert not lost.is_set()
        handfast_server.close()
        assert lost.wait(30)


async def test_asyncio_keys(ahf, name):
    assert await ahf.get(name) is None
    revision = (await ahf.put(name, "hello")).revision
    assert (await ahf.get(name)).mod_revision == revision
    assert (await ahf.range(name, prefix=True)).kvs[0].text == "hello"
    result = await ahf.txn(
        when=[Compare.missing(name)], then=[Op.put(name, "x")], otherwise=[Op.get(name)]
    )
    assert result.kv().text == "hello"
    async with ahf.lease(5) as lease:
        await ahf.put(f"{name}/l", "v", lease=lease)
        assert (await lease.info()).keys == (f"{name}/l".encode(),)
    assert await ahf.get(f"{name}/l") is None
    lease = await ahf.lease(5)
    await lease.revoke()
    assert (await ahf.delete(name)).deleted == 1


async def test_connect_can_be_awaited_or_entered(server, name):
    client = await handfast.aio.connect(server.endpoint)
    await client.put(name, "v")
    await client.close()
    with pytest.raises(handfast.ClosedError):
        await client.get(name)
    async with handfast.aio.connect([server.endpoint]) as client:
        assert (await client.get(name)).text == "v"


def test_values_can_be_pickled(hf, name):
    hf.put(name, "v")
    pair = hf.get(name)
    assert pickle.loads(pickle.dumps(pair)) == pair
    with pytest.raises(AttributeError):
        pair.value = b"other"
