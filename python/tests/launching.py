"""Programs as real processes, with a time limit that ends them all and a look at what they leave behind."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid
from typing import IO, NamedTuple

TESTS = pathlib.Path(__file__).parent
#: The variable by which the processes of a run are found.
MARK = "RANKPOOL_TEST_MARK"
#: What Open MPI wants of root.
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}

# Tests that a shell runs in the background ignore ctrl-C, and so would all programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Ended(NamedTuple):
    """How a run ended; `code` is negative after a signal, and `seconds` it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    def expect(self, code: int = 0) -> Ended:
        assert self.code == code, (
            f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )
        return self


class Run:
    """A Python program that runs: by itself, or on `world` ranks of `mpiexec`."""

    def __init__(
        self,
        *arguments: str,
        world: int = 0,
        launcher: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        stderr: IO[str] | int = subprocess.PIPE,
    ) -> None:
        command = [sys.executable, *arguments]
        if world:
            command = ["mpiexec", *oversubscribe(), *launcher, "-n", str(world), *command]
        self.mark = uuid.uuid4().hex
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=TESTS,
            env={**os.environ, **MPI, **(env or {}), MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def pids(self) -> list[int]:
        """The processes of this run that live, `mpiexec` among them."""
        mark = f"{MARK}={self.mark}".encode()
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if (
                    mark in (entry / "environ").read_bytes()
                    and "\nState:\tZ" not in (entry / "status").read_text()
                ):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return found

    def line(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> None:
        """What ctrl-C does: SIGINT to the process that was started."""
        self.process.send_signal(signal.SIGINT)

    def end(self, limit: float = 60.0) -> Ended:
        """Waits for the end, and sees that no process is left."""
        try:
            stdout, stderr = self.process.communicate(timeout=limit)
            seconds = time.monotonic() - self.began
            until = time.monotonic() + 5
            while self.pids() and time.monotonic() < until:
                time.sleep(0.02)
            left = self.pids()
            assert not left, f"left behind: {left}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
            return Ended(self.process.returncode, stdout, stderr, seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            stdout, stderr = self.process.communicate()
            raise AssertionError(
                f"no end within {limit} s\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
            ) from error
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends whatever is left of it."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@functools.cache
def open_mpi() -> int | None:
    """Open MPI's major version; None for another MPI library."""
    told = subprocess.run(
        ["mpiexec", "--version"], env={**os.environ, **MPI}, capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(?:Open MPI\)|OpenRTE\)|mpiexec \(Open MPI\)) v?(\d+)", told)
    return int(found[1]) if found else None


def oversubscribe() -> tuple[str, ...]:
    """Flags of `mpiexec` by which it starts more ranks than there are cores."""
    return {4: ("--oversubscribe",), 5: ("--map-by", ":oversubscribe")}.get(open_mpi() or 0, ())


def recovery() -> tuple[str, ...] | None:
    """Flags of `mpiexec` by which the other ranks live when one dies; None where that cannot be had."""
    flags = {4: ("--enable-recovery",), 5: ("--with-ft", "ulfm", "--prtemca", "state_base_recoverable", "1")}
    return flags.get(open_mpi() or 0)
