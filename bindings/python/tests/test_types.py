"""The types of the package: what users see, and the stub of the native module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import handfast
from handfast import aio, errors

SAMPLE = Path(__file__).parent / "typing_sample.py"


def run(*module: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_strict_user_has_no_complaints(tmp_path):
    """Against the installed package, so that py.typed and the stubs have to be in the wheel."""
    run("mypy", "--strict", "--cache-dir", str(tmp_path), str(SAMPLE), cwd=tmp_path)


def test_pyright_in_strict_mode_has_no_complaints(tmp_path):
    """Against the installed package as well; pyright comes with this environment."""
    (tmp_path / "sample.py").write_text(SAMPLE.read_text())
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    run("pyright", "--pythonpath", sys.executable, "sample.py", cwd=tmp_path)


def test_the_stub_is_true(tmp_path):
    run("mypy.stubtest", "handfast._native", "--ignore-disjoint-bases", cwd=tmp_path)


def test_everything_public_is_there_and_documented():
    for module in [handfast, aio]:
        for name in module.__all__:
            assert getattr(module, name).__doc__, name
    for code, kind in errors._BY_CODE.items():
        assert issubclass(kind, handfast.HandfastError), code
        assert kind.__name__ in handfast.__all__
