"""How workers are started that are processes of their own: as this program, or as one that serves alone."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from . import _pickling

#: Programs that run others inside of them: workers are not to run them, and get functions by value.
_HOSTS = {
    "pytest",
    "py",
    "unittest",
    "IPython",
    "ipykernel",
    "ipykernel_launcher",
    "jupyter",
    "ipython",
    "pdb",
    "doctest",
}

#: What serves and does nothing else.
_SERVER = ["-m", "rankpool._serve"]


def worker_program() -> tuple[str, list[str]]:
    """The interpreter and its arguments, for a worker."""
    if not sys.executable:
        return "python3", _SERVER
    given = list(getattr(sys, "orig_argv", None) or [sys.executable, *sys.argv])[1:]
    if runs_again():
        return sys.executable, _found(given)
    return sys.executable, [*_flags(), *_SERVER]


def _found(given: list[str]) -> list[str]:
    """The arguments, with the script by its full name if the program has left the folder that it began in."""
    file = getattr(sys.modules["__main__"], "__file__", None) or ""
    for number, word in enumerate(given):
        if os.path.basename(word) == os.path.basename(file) and not os.path.exists(word):
            return [*given[:number], os.path.abspath(file), *given[number + 1 :]]
    return given


def runs_again() -> bool:
    """Whether a worker can run the main module as this process does."""
    main = sys.modules["__main__"]
    if hasattr(sys, "ps1") or sys.flags.interactive or _name(main) in _HOSTS:
        return False
    if getattr(main, "__spec__", None) is not None:
        return True
    file = getattr(main, "__file__", None)
    if file is not None:
        return os.path.exists(file) and os.path.basename(file) != "<stdin>"
    return "-c" in getattr(sys, "orig_argv", [])


def share_main() -> None:
    """Take down what workers have of the main module, before the first executor is started."""
    _pickling.share_main(None if runs_again() else {})


def _name(main: ModuleType) -> str:
    """The name of the program, without its folder and ending."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).partition(".")[0]
    return os.path.basename(getattr(main, "__file__", None) or "").partition(".")[0]


def _flags() -> list[str]:
    """The interpreter's own flags."""
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    return list(_args_from_interpreter_flags())
