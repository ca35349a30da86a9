"""A script that runs on rank 0 alone, and whose functions the workers have."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import io
import os
import socket
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any, NoReturn

from ._executor import Executor
from ._pickling import hide_from_workers
from ._rankpool import is_awaited, is_worker

#: What a script is called on workers: the name that multiprocessing has given it, for libraries that know it.
ON_WORKERS = "__mp_main__"


def run(given: Sequence[str]) -> int:
    """Run a script, a module or code; on a worker import it and serve.

    Parameters
    ----------
    given : sequence of str
        ``[script, *arguments]``, ``["-m", module, *arguments]`` or ``["-c", code, *arguments]``.

    Returns
    -------
    int
        The exit code.
    """
    module = ModuleType(ON_WORKERS if is_worker() else "__main__")
    # What tasks return of the script's own classes is known by either name.
    sys.modules["__main__"] = sys.modules[ON_WORKERS] = module
    if is_worker():
        _serve(module, given)
    try:
        exec(_prepared(module, given), module.__dict__)
        return 0
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        # From the script's own frames on.
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals is not module.__dict__:
            frames = frames.tb_next
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        return 1
    finally:
        if is_awaited():
            # The script has started no executor, and its workers wait for one.
            Executor().shutdown()


def _serve(module: ModuleType, given: Sequence[str]) -> None:
    """Import the script, as far as it goes, and serve until rank 0 has ended."""
    try:
        exec(_prepared(module, given), module.__dict__)
    except KeyboardInterrupt:
        raise
    except SystemExit:
        pass
    except BaseException as error:
        _explain(module, f"{given[0]} could not be imported on {socket.gethostname()}: {error!r}")
    Executor()


def _explain(module: ModuleType, why: str) -> None:
    """Let whoever misses something of the script know why it is not there."""

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # Pickle would say no more of an AttributeError than its name.
        raise ImportError(f"{name}: {why}")

    module.__dict__["__getattr__"] = missing


def _prepared(module: ModuleType, given: Sequence[str]) -> CodeType:
    """The code of the program, once `module` and ``sys`` are as Python has them for it."""
    first, *arguments = given
    if first == "-c":
        code, *arguments = _named(arguments, "-c", "code")
        sys.argv[:] = ["-c", *arguments]
        _begin_path("")
        return _compiled(code, "<string>")
    if first == "-m":
        name, *arguments = _named(arguments, "-m", "a module")
        _begin_path(os.getcwd())
        return _code_of(module, _spec(name), name, arguments)
    if os.path.isfile(first) and not first.endswith((".zip", ".pyz")):
        sys.argv[:] = list(given)
        _begin_path(os.path.dirname(os.path.realpath(first)))
        module.__dict__["__file__"] = first
        with io.open_code(os.path.abspath(first)) as file:
            return _compiled(file.read(), first)
    _begin_path(first)
    spec = importlib.machinery.PathFinder.find_spec("__main__", [first])
    return _code_of(module, spec, first, arguments)


def _compiled(source: str | bytes, name: str) -> CodeType:
    hide_from_workers(_guarded(ast.parse(source, name)))
    return compile(source, name, "exec", dont_inherit=True)


def _guarded(program: ast.Module) -> set[str]:
    """The names that are bound behind ``if __name__ == "__main__":``, so that workers do not have them."""
    names: set[str] = set()
    for statement in program.body:
        if isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test):
            for node in ast.walk(statement):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    names.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
    return names


def _named(arguments: Sequence[str], option: str, what: str) -> Sequence[str]:
    return arguments or _refuse(f"{option}: name {what}")


def _refuse(why: str) -> NoReturn:
    """Say once what is wrong, and end with the code of bad usage."""
    if not is_worker():
        print(f"python -m rankpool: error: {why}", file=sys.stderr)
    sys.exit(2)


def _begin_path(folder: str) -> None:
    """Put the folder of the program where that of rankpool's caller is."""
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        sys.path[:1] = [folder]


def _spec(name: str) -> Any:
    """What there is of a module, of a package its ``__main__``."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    return spec


def _code_of(module: ModuleType, spec: Any, name: str, arguments: Sequence[str]) -> CodeType:
    """The code of a module that was found, which is to run as the program."""
    code = spec.loader.get_code(spec.name) if spec is not None and spec.loader is not None else None
    if code is None:
        _refuse(f"{name}: there is no such script or module, or it cannot be run")
    source = spec.loader.get_source(spec.name) if hasattr(spec.loader, "get_source") else None
    if source is not None:
        hide_from_workers(_guarded(ast.parse(source)))
    sys.argv[:] = [spec.origin, *arguments]
    module.__dict__.update(
        __file__=spec.origin,
        __spec__=spec,
        __package__=spec.parent,
        __loader__=spec.loader,
    )
    return code  # type: ignore[no-any-return]
