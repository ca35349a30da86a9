"""``python -m rankpool``: a program whose script runs on rank 0 alone, and the command line.

``mpiexec -n 4 python -m rankpool script.py`` runs the script on rank 0. The other ranks import it, as a
module that is not ``__main__``, and serve as workers; so what stands behind ``if __name__ == "__main__":``
runs once, before and after the executor.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import _rankpool

USAGE = """\
Run a program on rank 0, and its tasks on the other ranks; or run a command

Usage: {name} SCRIPT.py [ARGUMENTS]
       {name} -m MODULE [ARGUMENTS]
       {name} -c CODE [ARGUMENTS]
       {name} COMMAND [ARGUMENTS]

"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run what the arguments name, and end the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = "rankpool" if os.path.basename(sys.argv[0]) == "rankpool" else "python -m rankpool"
    if not given or given[0] in ("-h", "--help"):
        if not _rankpool.is_worker():
            sys.stdout.write(USAGE.format(name=name))
            sys.stdout.flush()
        sys.exit(_command_line(name, given or ["--help"]))
    if _is_program(given[0]):
        from ._script import run

        sys.exit(run(given))
    sys.exit(_command_line(name, given))


def _is_program(first: str) -> bool:
    """Whether this is a script, or an option that names one, and no command."""
    if first in ("-m", "-c"):
        return True
    return first not in _rankpool.commands() and (first.endswith(".py") or os.path.exists(first))


def _command_line(name: str, given: list[str]) -> int:
    """The command line of the program ``rankpool``, in this process."""
    if not _rankpool.commands():
        print(f"{name}: error: there is no command line: build it with the feature cli", file=sys.stderr)
        return 2
    started = list(getattr(sys, "orig_argv", [sys.executable, "-m", "rankpool", *given]))
    leading = started[1 : len(started) - len(given)] or ["-m", "rankpool"]
    # The run looks at signals itself, and Python is to find none when it has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return int(_rankpool.command_line(name, sys.executable, leading, given))


if __name__ == "__main__":
    main()
