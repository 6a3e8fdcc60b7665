"""What happens to whole processes: Ctrl-C, forks, exits, and two that want the same lock."""

from __future__ import annotations

import signal

import handfast
import pytest

FINISH = 60


WAITS = """
import sys, handfast
hf = handfast.connect(sys.argv[1])
try:
    hf.lock(sys.argv[2]).acquire()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    # The client still works.
    print(hf.lock(sys.argv[2]).holder() is not None)
"""

AWAITS = """
import asyncio, sys, handfast

async def main():
    async with handfast.aio.connect(sys.argv[1]) as hf:
        try:
            await hf.lock(sys.argv[2])
        except asyncio.CancelledError:
            print("interrupted", flush=True)
            print(await hf.lock(sys.argv[2]).holder() is not None)
            raise

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


def interrupt(process, hf, name, eventually):
    """Sends Ctrl-C to a program that waits for the lock, and expects it to leave the line."""
    eventually(lambda: len(hf.lock(name).line().members) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=FINISH)
    assert (out, err, process.returncode) == ("interrupted\nTrue\n", "", 0)
    eventually(lambda: len(hf.lock(name).line().members) == 1)


@pytest.mark.parametrize("program", [WAITS, AWAITS], ids=["blocking", "asyncio"])
def test_ctrl_c_ends_a_blocking_call(server, hf, python, name, eventually, program):
    with hf.lock(name):
        interrupt(python(program, server.endpoint, name), hf, name, eventually)


def test_ctrl_c_ends_a_blocking_call_when_the_tests_run_in_the_background(
    server, hf, python, name, eventually
):
    """As in `pytest &`: what a shell starts there ignores Ctrl-C, and so do its children.

    That is what once made the test above wait for ever.
    """
    with hf.lock(name):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = python(WAITS, server.endpoint, name)
        finally:
            signal.signal(signal.SIGINT, before)
        interrupt(process, hf, name, eventually)


FORK = """
import os, sys, handfast
endpoint, name = sys.argv[1:]
hf = handfast.connect(endpoint)
held = hf.lock(name).acquire()
watch = hf.watch(name)
child = os.fork()
if child == 0:
    code = 1
    try:
        for use in [lambda: hf.get("k"), held.check, held.release, lambda: next(watch), hf.close]:
            try:
                use()
            except RuntimeError as error:
                assert "fork" in str(error), error
            else:
                raise AssertionError("an old object works in the child")
        del held, watch, hf
        with handfast.connect(endpoint) as new:
            new.put(name + ".child", "v")
            assert not new.try_lock(name)
        code = 0
    finally:
        # A child that ends as programs do, with exit handlers.
        sys.exit(code)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
held.check()
assert hf.get(name + ".child").text == "v"
held.release()
print("parent goes on")
"""


def test_fork(server, python, name):
    process = python(FORK, server.endpoint, name)
    out, err = process.communicate(timeout=FINISH)
    assert (out, err, process.returncode) == ("parent goes on\n", "", 0)


MULTIPROCESSING = """
import multiprocessing, sys, handfast
endpoint, name = sys.argv[1:]

def work(number):
    # Inherited from the parent, and of no use here.
    try:
        parents.get("k")
    except RuntimeError as error:
        assert "fork" in str(error), error
    with handfast.connect(endpoint) as hf, hf.lock(name, timeout=60):
        return int(hf.put(f"{name}.{number}", "v").revision > 0)

parents = handfast.connect(endpoint)
parents.put("k", "v")
with multiprocessing.get_context("fork").Pool(4) as pool:
    print(sum(pool.map(work, range(8))))
print(parents.get("k").text)
"""


def test_a_pool_of_forked_processes(server, python, name):
    process = python(MULTIPROCESSING, server.endpoint, name)
    out, err = process.communicate(timeout=FINISH)
    assert (out, err, process.returncode) == ("8\nv\n", "", 0)


BUSY_AT_EXIT = """
import logging, sys, threading, handfast
logging.basicConfig(level=logging.DEBUG, stream=open("/dev/null", "w"))
endpoint, name = sys.argv[1:]
hf = handfast.connect(endpoint)
config = hf.config(name, default={})
config.on_change(print)
hf.service(name).register("n1", "h:1")

def busy():
    while True:
        hf.publish(name, {"x": 1})

for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
config.at_least(hf.publish(name, {"x": 2}))
"""


def test_no_exit_of_many_is_a_crash(server, python, name):
    """While threads of all kinds use the interpreter: callbacks, logs, decoding, calls."""
    for number in range(20):
        process = python(BUSY_AT_EXIT, server.endpoint, f"{name}/{number}")
        _, err = process.communicate(timeout=FINISH)
        assert process.returncode == 0, err


@pytest.mark.parametrize(
    "program",
    [
        # Never collected: only the exit handler can release it.
        "import ctypes; held = hf.lock(name).acquire()\n"
        "ctypes.pythonapi.Py_IncRef(ctypes.py_object(held._native))",
        "watch = hf.watch(name)",
        "held = hf.lock(name).acquire(); held.lost_event; hf.lease(5).lost_event",
        "threading.Thread(target=lambda: next(hf.watch(name)), daemon=True).start()",
        "server = handfast.Server()\n"
        "handfast.connect(server.endpoint).put('k', 'v')",
        "async def main():\n"
        "    hf = await handfast.aio.connect(endpoint)\n"
        "    asyncio.ensure_future(hf.lock(name).acquire())\n"
        "    lock = await hf.lock(name + '.2')\n"
        "    asyncio.ensure_future(lock.wait_lost())\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())",
    ],
)
def test_exit_does_not_hang(server, hf, python, name, program):
    setup = "import asyncio, sys, threading, handfast\nendpoint, name = sys.argv[1:]\n"
    connect = "hf = handfast.connect(endpoint)\n"
    process = python(setup + connect + program, server.endpoint, name)
    out, err = process.communicate(timeout=FINISH)
    assert (out, err, process.returncode) == ("", "", 0)
    # What it held is free sooner than the TTL ends.
    hf.lock(name, timeout=5).acquire().release()


CONTENDER = """
import sys, handfast
with handfast.connect(sys.argv[1]) as hf:
    for _ in range(20):
        with hf.lock(sys.argv[2], timeout=60) as lock:
            now = int(hf.get(sys.argv[2] + ".count").text)
            lock.put(sys.argv[2] + ".count", str(now + 1))
"""


def test_two_processes_contend(server, hf, python, name):
    hf.put(f"{name}.count", "0")
    processes = [python(CONTENDER, server.endpoint, name) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=FINISH)
        assert (out, err, process.returncode) == ("", "", 0)
    assert hf.get(f"{name}.count").text == "40"


def test_the_next_holder_learns_of_a_crash(server, python, name):
    process = python(
        """
import os, sys, handfast
hf = handfast.connect(sys.argv[1], ttl=2)
lock = hf.lock(sys.argv[2] + ".crash").acquire()
print("held", flush=True)
sys.stdin.read()
""",
        server.endpoint,
        name,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    process.kill()
    with handfast.connect(server.endpoint) as hf:
        with hf.lock(f"{name}.crash", timeout=FINISH) as lock:
            assert lock.previous_died
