"""What the Python tests share: running bitanchor, and skipping aloud."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "python"
DATA = ROOT / "tests" / "data"

sys.path.insert(0, str(TOOLS))

SKIPPED = 77  # CTest's SKIP_RETURN_CODE


def skip(reason: str) -> NoReturn:
    """Ends the test as skipped; as failed where skipping is not allowed (CI)."""
    if os.environ.get("BITANCHOR_NO_SKIP"):
        print(f"FAILED: would be skipped, and BITANCHOR_NO_SKIP is set: {reason}", file=sys.stderr)
        sys.exit(1)
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def require(*packages: str, setup: str = "tools/setup.sh") -> None:
    """Skips the test where this Python lacks one; `setup` installs them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        skip(f"no {', '.join(missing)} for {sys.executable}; {setup} installs them")


def finish(failures: list[str], summary: str) -> int:
    """Says what failed and then the summary; the test's exit status."""
    for failure in failures:
        print(f"FAILED: {failure}")
    print(summary)
    return 1 if failures else 0


@dataclass(frozen=True)
class Judged:
    """What `bitanchor check` said."""

    status: int
    report: dict[str, Any]  # empty where none was written
    stderr: str

    @property
    def verdict(self) -> str:
        return self.report.get("verdict", "none")

    @property
    def passed(self) -> bool:
        return self.status == 0 and self.verdict == "pass"

    @property
    def failed(self) -> bool:
        """Judged wrong, which a crash or a refused file is not."""
        return self.status == 1 and self.verdict == "fail"

    def elements(self) -> int:
        return sum(output["elements"] for output in self.report.get("outputs", []))

    def wrong(self) -> int:
        """Elements outside their interval, or not finite where they should be."""
        outputs = self.report.get("outputs", [])
        return sum(output["outside"] + output["nonfinite_mismatch"] for output in outputs)

    def outputs_outside(self) -> set[str]:
        """The names of the outputs that have a wrong element."""
        outputs = self.report.get("outputs", [])
        return {o["name"] for o in outputs if o["outside"] + o["nonfinite_mismatch"]}

    def worst(self) -> str:
        """The worst element of the first output that has a wrong one."""
        for output in self.report.get("outputs", []):
            if output["outside"] + output["nonfinite_mismatch"] and output.get("worst"):
                worst = output["worst"][0]
                index = ",".join(str(i) for i in worst["index"])
                return f"{output['name']}[{index}] got {worst['got']} want {worst['want']}"
        return "-"

    def summary(self) -> str:
        """One line an output."""
        lines = [f"exit status {self.status}, verdict {self.verdict} {self.stderr.strip()}"]
        for output in self.report.get("outputs", []):
            lines.append(
                f"    {output['name']}: {output['elements']} elements, {output['exact']} exact, "
                f"{output['within']} within, {output['outside']} outside, "
                f"{output['nonfinite_mismatch']} non-finite; worst share of bound "
                f"{output['worst_share_of_bound']}, bias {output['bias_sigma']} sigma"
            )
        return "\n".join(lines)


def bitanchor(executable: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the program; never raises for its exit status."""
    command = [str(executable), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def check(executable: Path, capture: Path, *arguments: str, command: str = "check") -> Judged:
    """`bitanchor check CAPTURE --json FILE ARGUMENTS...`, or another command that judges."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = bitanchor(executable, command, capture, "--json", report, *arguments)
        parsed = json.loads(report.read_text()) if report.exists() else {}
    return Judged(done.returncode, parsed, done.stderr)


class Checks:
    """Counts what was asked of a program and keeps the failures."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.failures: list[str] = []
        self.checks = 0

    def want(self, condition: bool, what: str) -> None:
        self.checks += 1
        if not condition:
            print(f"FAIL {what}")
            self.failures.append(what)


def answered(executable: Path, folder: Path, problem):
    """The problem with the answers of `bitanchor run`."""
    from capture_file import Capture, read_capture, write_capture

    problem_path, answer_path = folder / "problem.safetensors", folder / "answer.safetensors"
    write_capture(problem_path, problem)
    done = bitanchor(executable, "run", problem_path, "-o", answer_path)
    if done.returncode != 0:
        raise RuntimeError(f"bitanchor run: exit status {done.returncode}: {done.stderr}")
    return Capture({**problem.tensors, **read_capture(answer_path).tensors}, problem.metadata)
