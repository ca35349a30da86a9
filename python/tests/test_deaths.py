"""What is seen when a process dies, is frozen or interrupted, or when a program ends with an error."""

from __future__ import annotations

import itertools
import os
import pathlib
import signal
import time

import pytest
from behaviours import SETTINGS
from launching import TESTS, Run, open_mpi, recovery

#: How soon all processes are to be gone, on a machine that has other work, too.
SOON = 4.0

#: Where the death of a worker is survived, and where the launcher must be told to allow it.
MORTAL = ["processes", "children", "comm", "pool"]
UNDER_RECOVERY = ["comm", "pool"]
PARALLEL = ["processes", "comm", "children", "pool"]


def start(setting: str, *arguments: str, **more: object) -> Run:
    return Run(str(TESTS / "deaths.py"), setting, *arguments, world=SETTINGS[setting].world, **more)  # type: ignore[arg-type]


def start_with_recovery(setting: str, *arguments: str) -> Run:
    """Started so that a rank's death is survived, where the launcher has a part in it."""
    flags: tuple[str, ...] | None = ()
    if setting in UNDER_RECOVERY:
        flags = recovery()
        if flags is None:
            pytest.skip("this MPI ends a run when a process dies")
    return start(setting, *arguments, launcher=flags)


@pytest.mark.parametrize(
    ("setting", "how"),
    [
        *((setting, "kill") for setting in MORTAL),
        *itertools.product(["processes", "comm"], ["exit", "segfault"]),
    ],
)
def test_a_worker_that_dies_costs_its_chunk(setting: str, how: str, tmp_path: pathlib.Path) -> None:
    ended = start_with_recovery(setting, "one_death", str(tmp_path), how).end().expect(0)
    assert "complete" in ended.stdout
    assert (tmp_path / "died").exists()
    assert "was lost: " in ended.stderr, "the loss is told"


@pytest.mark.parametrize("setting", ["processes", "children"])
def test_a_worker_that_is_frozen_is_given_up(setting: str, tmp_path: pathlib.Path) -> None:
    ended = start(setting, "one_death", str(tmp_path), "freeze").end().expect(0)
    assert "complete" in ended.stdout


@pytest.mark.parametrize("setting", MORTAL)
def test_a_submitted_task_survives_its_worker(setting: str, tmp_path: pathlib.Path) -> None:
    start_with_recovery(setting, "a_death_of_a_submitted_task", str(tmp_path), "kill").end().expect(0)


@pytest.mark.parametrize("setting", ["processes", "children", "pool"])
def test_a_task_that_kills_every_worker_is_given_up(setting: str) -> None:
    ended = start_with_recovery(setting, "deadly_tasks").end().expect(0)
    assert "complete" in ended.stdout


def test_an_executor_without_workers_says_so() -> None:
    ended = start_with_recovery("comm", "no_worker_is_left").end()
    assert "no workers: " in ended.stdout, ended


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_the_death_of_a_rank_ends_a_run_without_recovery(how: str, tmp_path: pathlib.Path) -> None:
    ended = start("comm", "a_death_in_a_long_map", str(tmp_path), how).end(30)
    assert ended.code != 0 and "complete" not in ended.stdout, ended
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_run_without_recovery_that_completes_before_it_is_ended_has_failed_all_the_same(
    how: str, tmp_path: pathlib.Path
) -> None:
    """The launcher takes up to a second to end a run; rank 0 works on until then."""
    ended = start("comm", "one_death", str(tmp_path), how).end()
    assert ended.code != 0, ended


@pytest.mark.parametrize("scenario", ["long_tasks", "a_long_result"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_interrupt_ends_all(setting: str, scenario: str) -> None:
    run = start(setting, scenario)
    assert run.line() == "napping"
    time.sleep(0.2)
    began = time.monotonic()
    run.interrupt()
    ended = run.end(15)
    assert time.monotonic() - began < SOON, ended
    assert ended.code != 0
    if not SETTINGS[setting].world:
        assert ended.code == -signal.SIGINT, "as Python ends by KeyboardInterrupt"
        assert "KeyboardInterrupt" in ended.stderr


@pytest.mark.skipif(open_mpi() != 4, reason="Open MPI 4 returns the code of the first rank that ends")
@pytest.mark.parametrize("setting", ["comm", "children", "pool"])
def test_an_interrupt_of_rank_0_gives_its_exit_code(setting: str) -> None:
    for _ in range(3):
        start(setting, "an_interrupt_of_rank_0").end(15).expect(128 + signal.SIGINT)


@pytest.mark.parametrize("setting", ["processes", "comm", "children"])
def test_ctrl_c_in_a_terminal_ends_all(setting: str) -> None:
    """A terminal sends SIGINT to each process of the group."""
    run = start(setting, "long_tasks")
    assert run.line() == "napping"
    began = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)
    ended = run.end(15)
    assert time.monotonic() - began < SOON, ended
    assert ended.code != 0


@pytest.mark.parametrize("scenario", ["an_error", "an_error_in_a_pool"])
@pytest.mark.parametrize("setting", PARALLEL)
def test_an_error_of_the_program_ends_all(setting: str, scenario: str) -> None:
    run = start(setting, scenario)
    assert run.line() == "napping"
    began = time.monotonic()
    ended = run.end()
    assert time.monotonic() - began < SOON, ended
    assert ended.code != 0 and "my own error" in ended.stderr, ended


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_exit_code_is_that_of_rank_0(setting: str) -> None:
    start(setting, "an_exit_code").end().expect(7)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_end_of_the_program_waits_for_what_was_submitted(setting: str, tmp_path: pathlib.Path) -> None:
    start(setting, "nothing_is_shut_down", str(tmp_path)).end().expect(0)
    assert sorted(os.listdir(tmp_path)) == list("01234")


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_executor_that_nobody_shuts_down_ends_with_the_program(setting: str) -> None:
    start(setting, "an_executor_that_is_global").end().expect(0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_executors_at_once_share_or_are_refused(setting: str) -> None:
    ended = start(setting, "two_at_once").end().expect(0)
    assert "shared" in ended.stdout or "refused: " in ended.stdout
    if not SETTINGS[setting].world:
        assert "shared" in ended.stdout


@pytest.mark.parametrize("setting", ["serial", "processes", "comm"])
def test_a_bar_that_cannot_be_written_hurts_nobody(setting: str) -> None:
    with open("/dev/full", "w") as full:
        start(setting, "progress", stderr=full).end().expect(0)
