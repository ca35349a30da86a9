#!/bin/sh
# A container of the Slurm cluster in compose.yaml.
#   slurm controller   runs slurmctld
#   slurm node         runs slurmd
#   slurm login        has the commands, as sbatch
#   slurm ready        succeeds when the controller knows this node as one that can take work
set -eu

# The first container makes the key, for all of them, in the volume that they share.
start_munge() {
    if ! [ -e /cluster/munge.key ]; then
        new=$(mktemp /cluster/munge.XXXXXX)
        head -c 1024 /dev/urandom >"$new"
        mv -n "$new" /cluster/munge.key
        rm -f "$new"
    fi
    mkdir -p /tmp/munge /tmp/slurm
    munged --key-file=/cluster/munge.key --socket=/tmp/munge/socket --pid-file=/tmp/munge/pid \
        --log-file=/tmp/munge/log --seed-file=/tmp/munge/seed
}

case ${1:-} in
controller)
    start_munge
    sed "s/USER/$(id -u)/" /etc/slurm/slurm.conf >/cluster/slurm.conf
    exec slurmctld -D
    ;;
node)
    start_munge
    exec slurmd -D -Z --conf "CPUs=${CLUSTER_SLOTS:-$(nproc)}"
    ;;
login)
    start_munge
    exec sleep infinity
    ;;
ready)
    sinfo -h -N -n "$(hostname)" -t idle,mixed,allocated -o %N | grep -q .
    ;;
*)
    echo "usage: slurm controller|node|login|ready" >&2
    exit 2
    ;;
esac
