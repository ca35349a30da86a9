"""`python -m rankpool`: scripts whose main part runs on rank 0 alone, and the command line."""

from __future__ import annotations

import json
import pathlib

import pytest
from launching import TESTS, Ended, Run
from shims import WAYS

SCRIPT = str(TESTS / "programs" / "script.py")


def rankpool(*arguments: str, way: str = "comm", limit: float = 60.0) -> Ended:
    world, env = WAYS[way]
    return Run("-m", "rankpool", *arguments, world=world, env=env).end(limit)


def done(ended: Ended) -> Ended:
    assert ended.expect(0).stdout.splitlines().count("done") == 1, ended
    return ended


@pytest.mark.parametrize("way", WAYS)
def test_a_script_runs_once_and_its_names_are_known_everywhere(way: str) -> None:
    ended = done(rankpool(SCRIPT, "map", way=way))
    assert ended.stdout.count("imported as __main__\n") == 1
    if way == "comm":
        assert ended.stdout.count("imported as __mp_main__\n") == 2


@pytest.mark.parametrize(
    ("world", "env"),
    [(1, {"RANKPOOL_MODE": "pool", "RANKPOOL_WORKERS": "2"}), (2, {"RANKPOOL_PROCESSES_PER_WORKER": "1"})],
    ids=["pool", "children of ranks"],
)
def test_workers_that_are_started_later_import_the_script_too(world: int, env: dict[str, str]) -> None:
    done(Run("-m", "rankpool", SCRIPT, "map", world=world, env=env).end())


@pytest.mark.parametrize("way", ["processes", "comm"])
def test_without_a_guard_workers_stop_at_the_executor(way: str) -> None:
    done(rankpool(str(TESTS / "programs" / "unguarded.py"), way=way))


def test_a_module_and_code() -> None:
    ended = done(rankpool("-m", "programs.script", "map"))
    assert ended.stdout.count("imported as __main__\n") == 1
    code = (
        "import rankpool, sys\nwith rankpool.Executor() as e: print(sum(e.map(abs, range(-9, 0))), sys.argv)"
    )
    assert rankpool("-c", code, "-x", "y").expect(0).stdout == "45 ['-c', '-x', 'y']\n"


def test_a_folder_with_a_main_module(tmp_path: pathlib.Path) -> None:
    (tmp_path / "__main__.py").write_text("import beside\nif __name__ == '__main__': print(beside.NAME)\n")
    (tmp_path / "beside.py").write_text("NAME = 'done'\n")
    done(rankpool(str(tmp_path)))


def test_without_an_executor_all_ranks_end() -> None:
    done(rankpool(SCRIPT, "nothing"))
    rankpool(SCRIPT, "exit").expect(3)


@pytest.mark.parametrize("kind", ["raise", "raise later"])
@pytest.mark.parametrize("way", ["alone", "comm"])
def test_an_exception_ends_all_ranks_with_one_traceback(kind: str, way: str) -> None:
    ended = rankpool(SCRIPT, kind, way=way).expect(1)
    assert ended.stderr.count("Traceback") == 1, ended
    assert "LookupError: be" in ended.stderr
    assert "_script.py" not in ended.stderr, "the traceback begins in the script"


def test_what_workers_cannot_import_is_told_where_it_is_missed() -> None:
    done(rankpool(str(TESTS / "programs" / "here_only.py")))


@pytest.mark.parametrize("arguments", [("none.py",), ("-m", "no_such_module"), ("-m",), ("nonsense",)])
def test_what_is_not_there_is_refused_once(arguments: tuple[str, ...]) -> None:
    ended = Run("-m", "rankpool", *arguments, world=3).end()
    assert ended.code == 2, ended
    assert ended.stderr.count("error: ") == 1, ended


def digest(*arguments: str, way: str) -> str:
    ended = rankpool("run", "pi", "--tasks", "20", "--samples", "1000", "--json", *arguments, way=way)
    return str(json.loads(ended.expect(0).stdout)["results_digest"])


def test_a_run_of_the_command_line_gives_the_same_in_each_way() -> None:
    assert len({digest(way=way) for way in WAYS}) == 1
    children = digest("--processes-per-worker", "1", way="comm")
    pool = digest("--mode", "pool", "--workers", "2", "--oversubscribe", way="one rank")
    assert children == pool == digest(way="serial")


def test_commands(tmp_path: pathlib.Path) -> None:
    told = rankpool("--help", way="alone").expect(0).stdout
    assert "python -m rankpool SCRIPT.py" in told
    assert "mpiexec -n 4 python -m rankpool run" in told
    assert "squares" in rankpool("list", way="alone").expect(0).stdout
    ended = rankpool("exec", "--", "sh", "-c", "echo task {}", ":::", "a", "b", way="processes")
    assert sorted(ended.expect(0).stdout.split("\n")[:2]) == ["task a", "task b"], ended
    assert rankpool("doctor", way="alone").expect(0).stdout.count("ok ") > 3
    failed = rankpool("exec", "--", "false", ":::", "a", way="alone").expect(1)
    assert "exit code 1" in failed.stderr
    path = tmp_path / "pi.sh"
    rankpool("slurm", "--output-script", str(path), "--", "run", "pi", way="alone").expect(0)
    assert "-m rankpool run pi)" in path.read_text()
