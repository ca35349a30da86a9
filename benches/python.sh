#!/bin/sh
# The Python package beside what people use instead, in one run: only ratios within a run mean anything. Prints a table.
#
#   benches/python.sh [ROUNDS]     rounds are taken in turns, and the best of each counts; 2 without a number
#
# The package and its peers are installed into target/peers, as users install them.
set -eu
cd "$(dirname "$0")/.."
peers=target/peers
python=$PWD/$peers/bin/python
lines=target/python.jsonl
work=benches/python/work.py
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Numerical libraries start no threads of their own: there are two processes for two cores.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

measure() { # measure COMMAND...: its lines are kept
    echo "+ $*" >&2
    "$@" >>$lines
}

started() { # started NAME COMMAND...: how long the command takes, from outside
    name=$1
    shift
    echo "+ $*" >&2
    began=$(date +%s.%N)
    "$@"
    ended=$(date +%s.%N)
    echo "$name $began $ended" | awk '{printf "{\"name\":\"%s\",\"start_s\":%.3f}\n", $1, $3 - $2}' >>$lines
}

[ -x "$python" ] || python3 -m venv $peers
"$python" -m pip install -q --disable-pip-version-check -r benches/requirements.txt ./python
: >$lines

round=0
while [ "$round" -lt "${1:-2}" ]; do
    round=$((round + 1))
    measure mpiexec -n 2 "$python" $work rankpool_one
    measure mpiexec -n 2 "$python" -m mpi4py.futures $work futures_one
    measure mpiexec -n 2 env MPI4PY_FUTURES_BACKOFF=0 "$python" -m mpi4py.futures $work futures_one
    measure mpiexec -n 2 "$python" $work buffers
    measure mpiexec --oversubscribe -n 3 "$python" $work rankpool_two
    measure mpiexec --oversubscribe -n 3 "$python" -m mpi4py.futures $work futures_two
    measure "$python" $work multiprocessing_two
    measure "$python" $work joblib_two
    for _ in 1 2 3; do
        started rankpool mpiexec --oversubscribe -n 3 "$python" $work rankpool_start
        started mpi4py.futures mpiexec --oversubscribe -n 3 "$python" -m mpi4py.futures $work futures_start
    done
    measure mpiexec --oversubscribe -n 3 "$python" $work rankpool_emcee
    measure mpiexec --oversubscribe -n 3 "$python" $work schwimmbad_emcee
    measure mpiexec --oversubscribe -n 3 "$python" $work rankpool_search
    measure "$python" $work joblib_search
done
"$python" $work table <$lines
