#!/bin/sh
# rankpool beside MPI itself and the peers, in one run: only ratios within a run mean anything.
# Python's peers are installed into target/peers; without Python they are left out, aloud.
set -eu
cd "$(dirname "$0")/.."
peers=target/peers
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

cargo bench --bench throughput --no-run
bench=$(find target/release/deps -maxdepth 1 -name 'throughput-*' -type f -perm -u+x -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
mpicc -O2 benches/floor.c -o target/floor
if [ ! -x $peers/bin/python ] && ! { python3 -m venv $peers && $peers/bin/pip install -q mpi4py joblib numpy; }; then
    echo "no Python environment: the peers are left out" >&2
fi

echo "# MPI itself"
mpiexec -n 2 target/floor
echo "# rankpool"
mpiexec -n 2 "$bench" comm
mpiexec --oversubscribe -n 3 "$bench" comm
mpiexec --oversubscribe -n 1 "$bench" pool 1
"$bench" processes 2
"$bench" threads 2
"$bench" serial
if [ -x $peers/bin/python ]; then
    echo "# the peers"
    mpiexec -n 2 $peers/bin/python -m mpi4py.futures benches/peers.py mpi
    $peers/bin/python benches/peers.py local
fi
