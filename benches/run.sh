#!/bin/sh
# rankpool beside MPI itself and the peers, in one run: only ratios within a run mean anything. Writes the tables and the
# plot of docs/performance.md.
#
#   benches/run.sh             all of it, some minutes
#   benches/run.sh --quick     a few seconds for each mode
#
# Python's peers are installed into target/peers; without Python they are left out, aloud.
set -eu
cd "$(dirname "$0")/.."
peers=target/peers
lines=target/bench.jsonl
quick=${1:-}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1

measure() { # measure COMMAND...: its lines are kept
    echo "+ $*" >&2
    "$@" | tee -a $lines
}

cargo build --release
cargo bench --bench table --no-run
mpicc -O2 benches/floor.c -o target/floor
if ! { [ -x $peers/bin/python ] && $peers/bin/python -c 'import mpi4py, schwimmbad, joblib'; } 2>/dev/null &&
    ! { python3 -m venv $peers && $peers/bin/pip install -q --disable-pip-version-check -r benches/requirements.txt; }; then
    echo "no Python environment: the peers are left out" >&2
fi
echo "{\"what\":\"machine\",\"load\":$(cut -d' ' -f1 /proc/loadavg || echo null)}" >$lines

measure mpiexec -n 2 target/floor
measure mpiexec --oversubscribe -n 3 target/floor
measure mpiexec --oversubscribe -n 1 target/floor spawn
rankpool="target/release/rankpool bench --json $quick"
# shellcheck disable=SC2086  # words of a command
{
    measure mpiexec -n 2 $rankpool
    measure mpiexec --oversubscribe -n 3 $rankpool
    measure mpiexec --oversubscribe -n 1 $rankpool --mode pool --workers 1 --oversubscribe
    measure $rankpool --mode processes --workers 2
    measure $rankpool --mode threads --workers 2
    measure $rankpool --mode serial
}
if [ -x $peers/bin/python ]; then
    python=$peers/bin/python
    measure mpiexec -n 2 $python -m mpi4py.futures benches/peers.py futures
    measure mpiexec -n 2 env MPI4PY_FUTURES_BACKOFF=0 $python -m mpi4py.futures benches/peers.py futures
    measure mpiexec -n 2 $python benches/peers.py schwimmbad
    measure $python benches/peers.py multiprocessing
    measure $python benches/peers.py processes
    measure $python benches/peers.py joblib
fi
cargo bench --bench table
