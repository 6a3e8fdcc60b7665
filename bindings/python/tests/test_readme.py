"""The programs in the README run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program, tmp_path):
    if "def test_" in program:
        (tmp_path / "test_it.py").write_text(program)
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    else:
        command = ["-c", program]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_programs():
    assert len(PROGRAMS) >= 3
