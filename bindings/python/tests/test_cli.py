"""The command from the wheel: `handfast` and `python -m handfast`."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import handfast
import pytest

COMMAND = Path(sys.executable).parent / "handfast"
FORMS = [[str(COMMAND)], [sys.executable, "-m", "handfast"]]


def run(form: list[str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*form, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("form", FORMS, ids=["script", "module"])
def test_put_and_get(server, hf, name, form):
    put = run(form, "--endpoints", server.endpoint, "put", name, "hello")
    assert put.returncode == 0, put.stderr
    assert hf.get(name).text == "hello"
    got = run(form, "--endpoints", server.endpoint, "get", name)
    assert got.returncode == 0 and "hello" in got.stdout


def test_usage_errors_have_their_code():
    wrong = run(FORMS[1], "no-such-command")
    assert wrong.returncode == 2 and "no-such-command" in wrong.stderr
    assert run(FORMS[1], "--version").stdout.startswith("handfast ")


@pytest.fixture
def short_path() -> Iterator[str]:
    """A folder for a socket: those have a limit of about 100 bytes."""
    with tempfile.TemporaryDirectory() as path:
        yield path


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_in_order(short_path, tmp_path, eventually, signal_number):
    listen = f"unix://{short_path}/s"
    process = subprocess.Popen(
        [str(COMMAND), "serve", "--data-dir", str(tmp_path / "data"),
         "--listen-client-urls", listen, "--advertise-client-urls", listen],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with handfast.connect(f"unix:{short_path}/s") as hf:

            def served() -> bool:
                assert process.poll() is None, process.communicate()[0]
                try:
                    return hf.put("k", "v").revision > 0
                except handfast.UnavailableError:
                    return False

            eventually(served)
        process.send_signal(signal_number)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, out
    assert "Traceback" not in out
