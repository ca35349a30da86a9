"""Checks of what can go wrong with a task: it becomes that task's error, and the executor stays usable."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from rankpool import Executor, RankpoolError, RemoteTraceback

from .maps import square


class OwnError(Exception):
    """An exception whose arguments are not those of its initialiser."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}: {hint}")
        self.code = code
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return own_error, (self.code, self.hint)


def own_error(code: int, hint: str) -> OwnError:
    return OwnError(code, hint=hint)


class CannotComeBack(Exception):
    """Pickles, and cannot be made again from what pickle keeps."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first


class NotHeard:
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return refuse, ()


def refuse() -> object:
    raise RuntimeError("this is not heard")


def raises_own(code: int) -> None:
    raise OwnError(code, hint="mend it")


def raises_from(_: int) -> None:
    try:
        {}["inner"]
    except KeyError as error:
        raise ValueError("outer") from error


def raises_lock(_: int) -> None:
    raise ValueError(threading.Lock())


def raises_what_cannot_come_back(_: int) -> None:
    raise CannotComeBack(1, 2)


def gives_lock(_: int) -> object:
    return threading.Lock()


def gives_not_heard(_: int) -> object:
    return NotHeard()


def exits(code: int) -> None:
    sys.exit(code)


def raises_base(_: int) -> None:
    raise GeneratorExit("not an Exception")


def interrupts(_: int) -> None:
    raise KeyboardInterrupt


def deep(n: int) -> int:
    return deep(n + 1)


def takes(anything: object) -> str:
    return type(anything).__name__


def usable(pool: Executor) -> None:
    assert list(pool.map(square, range(3))) == [0, 1, 4]


def told(error: BaseException) -> str:
    """All that is said of an error."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def an_exception_comes_back_as_itself(pool: Executor) -> None:
    with pytest.raises(OwnError) as caught:
        list(pool.map(raises_own, [3]))
    assert (caught.value.code, caught.value.hint) == (3, "mend it")
    with pytest.raises(OwnError):
        pool.submit(raises_own, 4).result()
    usable(pool)


def its_cause_is_the_traceback_of_the_worker(pool: Executor) -> None:
    for run in (lambda: list(pool.map(raises_own, [3])), lambda: pool.submit(raises_own, 3).result()):
        with pytest.raises(OwnError) as caught:
            run()
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        text = told(caught.value)
        assert "in raises_own" in text and 'raise OwnError(code, hint="mend it")' in text
        assert socket.gethostname() in text and "rank" in text and "task" in text, text
    with pytest.raises(ValueError, match="outer") as caught_from:
        list(pool.map(raises_from, [0]))
    assert "KeyError: 'inner'" in told(caught_from.value)


def the_task_of_an_error_is_told(pool: Executor) -> None:
    with pytest.raises(OwnError) as caught:
        list(pool.map(lambda n: raises_own(n) if n == 6 else n, range(20), chunksize=4))
    assert "task 6" in told(caught.value), told(caught.value)
    usable(pool)


def an_exception_that_does_not_pickle(pool: Executor) -> None:
    with pytest.raises(Exception) as caught:
        list(pool.map(raises_lock, [0]))
    assert "ValueError" in told(caught.value) and "in raises_lock" in told(caught.value)
    usable(pool)


def an_exception_comes_back_without_its_initialiser(pool: Executor) -> None:
    for run in (
        lambda: list(pool.map(raises_what_cannot_come_back, [0])),
        lambda: pool.submit(raises_what_cannot_come_back, 0).result(),
    ):
        with pytest.raises(CannotComeBack, match="1 and 2") as caught:
            run()
        assert caught.value.args == ("1 and 2",) and caught.value.first == 1
        assert "in raises_what_cannot_come_back" in told(caught.value)
        usable(pool)


def stops_at_three(number: int) -> int:
    return next(other for other in [number] if other != 3)


def stop_iteration_is_a_failure(pool: Executor) -> None:
    for chunksize in (None, 4):
        taken: list[int] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            taken.extend(pool.map(stops_at_three, range(8), chunksize=chunksize))
        # A list takes what comes before an error.
        assert taken == [0, 1, 2]
    outcomes = pool.outcomes(stops_at_three, range(8))
    assert [outcome.ok for outcome in outcomes] == [True] * 3 + [False] + [True] * 4
    usable(pool)


def not_heard_at_three(number: int) -> object:
    return NotHeard() if number == 3 else number


def what_does_not_unpickle_is_charged_to_its_task(pool: Executor) -> None:
    taken: list[object] = []
    with pytest.raises(Exception, match="task 3"):
        taken.extend(pool.map(not_heard_at_three, range(8), chunksize=8))
    assert taken == [0, 1, 2]
    usable(pool)


def an_argument_that_does_not_pickle_is_named(pool: Executor) -> None:
    lock = threading.Lock()
    for run in (lambda: list(pool.map(takes, [1, lock])), lambda: pool.submit(takes, lock).result()):
        with pytest.raises(Exception, match="lock"):
            run()
        usable(pool)


def a_function_that_does_not_pickle_is_named(pool: Executor) -> None:
    lock = threading.Lock()

    def holds_a_lock(n: int) -> int:
        with lock:
            return n

    for run in (lambda: list(pool.map(holds_a_lock, [1])), lambda: pool.submit(holds_a_lock, 1).result()):
        with pytest.raises(Exception, match="holds_a_lock"):
            run()
        usable(pool)


def a_result_that_does_not_pickle_is_named(pool: Executor) -> None:
    for run in (lambda: list(pool.map(gives_lock, [0])), lambda: pool.submit(gives_lock, 0).result()):
        with pytest.raises(Exception, match="lock"):
            run()
        usable(pool)


def a_result_that_does_not_unpickle(pool: Executor) -> None:
    for run in (
        lambda: list(pool.map(gives_not_heard, [0])),
        lambda: pool.submit(gives_not_heard, 0).result(),
    ):
        with pytest.raises(Exception) as caught:
            run()
        assert "this is not heard" in told(caught.value)
        usable(pool)


def an_argument_that_does_not_unpickle(pool: Executor) -> None:
    for run in (lambda: list(pool.map(takes, [NotHeard()])), lambda: pool.submit(takes, NotHeard()).result()):
        with pytest.raises(Exception) as caught:
            run()
        assert "this is not heard" in told(caught.value)
        usable(pool)


def a_module_that_a_worker_has_not_is_named(pool: Executor) -> None:
    if pool.mode == "serial":
        return
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "only_on_rank_0.py"), "w") as module:
            module.write("def f(n):\n    return n\n")
        sys.path.insert(0, folder)
        try:
            import only_on_rank_0  # type: ignore[import-not-found]
        finally:
            sys.path.remove(folder)
    with pytest.raises(ImportError) as caught:
        list(pool.map(only_on_rank_0.f, range(3)))
    text = str(caught.value)
    assert re.search(rf"on rank \d+ \({socket.gethostname()}, process \d+, ", text), text
    assert "No module named 'only_on_rank_0'" in text and "sys.path" in text, text
    usable(pool)


def sys_exit_is_a_failure(pool: Executor) -> None:
    for code in (0, 3):
        with pytest.raises(BaseException) as caught:
            list(pool.map(exits, [code]))
        assert not isinstance(caught.value, SystemExit), "it would end rank 0"
        assert "SystemExit" in told(caught.value)
        with pytest.raises(RankpoolError, match="SystemExit"):
            pool.submit(exits, code).result()
        usable(pool)


def what_is_no_exception_but_is_raised(pool: Executor) -> None:
    for function, name in ((raises_base, "GeneratorExit"), (interrupts, "KeyboardInterrupt")):
        with pytest.raises(BaseException) as caught:
            list(pool.map(function, [0]))
        assert name in told(caught.value)
        usable(pool)


def endless_recursion(pool: Executor) -> None:
    with pytest.raises(RecursionError):
        list(pool.map(deep, [0]))
    usable(pool)


def what_is_no_function_is_refused(pool: Executor) -> None:
    with pytest.raises(TypeError):
        list(pool.map(3, [1]))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pool.submit(None).result()  # type: ignore[arg-type]
    usable(pool)


CHECKS = [
    an_exception_comes_back_as_itself,
    its_cause_is_the_traceback_of_the_worker,
    the_task_of_an_error_is_told,
    an_exception_that_does_not_pickle,
    an_exception_comes_back_without_its_initialiser,
    stop_iteration_is_a_failure,
    what_does_not_unpickle_is_charged_to_its_task,
    an_argument_that_does_not_pickle_is_named,
    a_function_that_does_not_pickle_is_named,
    a_result_that_does_not_pickle_is_named,
    a_result_that_does_not_unpickle,
    an_argument_that_does_not_unpickle,
    a_module_that_a_worker_has_not_is_named,
    sys_exit_is_a_failure,
    what_is_no_exception_but_is_raised,
    endless_recursion,
    what_is_no_function_is_refused,
]
