"""The embedded server and the pytest fixture."""

from __future__ import annotations

import handfast
import pytest

pytest_plugins = ["pytester"]


def test_ephemeral_servers_are_apart(name):
    with handfast.Server() as one, handfast.Server() as two:
        assert one.endpoint != two.endpoint
        assert one.data_dir != two.data_dir and one.data_dir.is_dir()
        assert one.endpoint in repr(one)
        with handfast.connect(one.endpoint) as hf:
            hf.put(name, "v")
        with handfast.connect(two.endpoint) as hf:
            assert hf.get(name) is None
    assert not one.data_dir.exists()
    one.close()


def test_a_folder_keeps_the_data(tmp_path, name):
    for expected in [None, b"v"]:
        with handfast.Server(data_dir=tmp_path / "data", name="n1") as server:
            assert server.data_dir == tmp_path / "data"
            with handfast.connect(server.endpoint) as hf:
                found = hf.get(name)
                assert (found and found.value) == expected
                hf.put(name, "v")


def test_a_folder_in_use_is_refused(tmp_path):
    with handfast.Server(data_dir=tmp_path / "data"):
        with pytest.raises(handfast.HandfastError, match="data"):
            handfast.Server(data_dir=tmp_path / "data")


def test_a_bad_address_is_refused():
    with pytest.raises(handfast.InvalidArgumentError):
        handfast.Server(listen="nowhere:nothing")


def test_the_fixture(pytester):
    """As in a project that uses handfast: nothing is imported or configured for it."""
    pytester.makepyfile(
        """
        import handfast

        def test_it(handfast_server):
            with handfast.connect(handfast_server.endpoint) as hf:
                hf.put("k", "v")
                assert hf.get("k").text == "v"

        def test_another(handfast_server):
            with handfast.connect(handfast_server.endpoint) as hf:
                assert hf.get("k") is None
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


async def test_a_client_survives_a_restart(tmp_path, name):
    first = handfast.Server(data_dir=tmp_path / "data")
    endpoint = first.endpoint
    async with handfast.aio.connect(endpoint) as hf, hf.watch(name) as events:
        await hf.put(name, "before")
        assert (await anext(events)).text == "before"
        first.close()
        with handfast.Server(data_dir=tmp_path / "data", listen=endpoint):
            await hf.put(name, "after")
            assert (await anext(events)).text == "after"
            assert (await hf.get(name)).text == "after"
