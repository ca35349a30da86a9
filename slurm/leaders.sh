#!/bin/bash
# A run with one rank on each node, which runs no task: it schedules child processes of its node, one for each CPU.
# A child that dies costs the tasks that it was at, and is replaced; no rank and no launcher hears of it.
# The ranks are started by srun, for an MPI library with PMIx. `srun --mpi=list` tells what this Slurm has.
# The nodes are the job's alone. For a part of each, put `#SBATCH --cpus-per-task=N` in place of --exclusive.
#SBATCH --job-name=pi
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

command=(rankpool run pi --tasks 1000 --output pi.h5)

# A child for each CPU that Slurm gives the rank; on nodes that are the job's alone, for each CPU of the node.
export RANKPOOL_PROCESSES_PER_WORKER="${SLURM_CPUS_PER_TASK:--1}"

# Without it Slurm 22.05 lets the ranks of a node leave MPI_Init before those of the others are ready: they may crash.
export SLURM_PMIX_FENCE=ring

# The others go on when a rank has ended. Since 22.05 srun does not take over --cpus-per-task.
launch=(srun --mpi=pmix --wait=0 --kill-on-bad-exit=0
    ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"})
# Children may run on all CPUs of the job. rankpool's --bind gives each some of its own.
launch+=(--cpu-bind=none)

# What follows is the same in all these scripts, and needs no change.

# Launchers end with codes of their own. Rank 0 leaves the code of the run in this file.
export RANKPOOL_CODE_FILE="${TMPDIR:-/tmp}/rankpool-$SLURM_JOB_ID.code"
rm -f "$RANKPOOL_CODE_FILE"

# USR1 comes before the time is over, to this shell alone: passed on, it lets the run end early, with code 75.
# So does the run itself, when no more than this is left.
export RANKPOOL_GRACE=60s

# TERM comes from scancel, from preemption and at the end of the time, to the ranks as well. The job is not requeued
# then: cancelled it is to stop, and preempted it is requeued by Slurm. A launcher that has only just begun would die
# of USR1.
stopped=
trap 'sleep 1; kill -USR1 $! 2>/dev/null' USR1
trap 'stopped=yes; sleep 1; kill -USR1 $! 2>/dev/null' TERM
"${launch[@]}" "${command[@]}" &

# A signal ends a wait, not the launcher. The last wait takes the code of a launcher that has ended.
while wait $!; kill -0 $! 2>/dev/null; do :; done
wait $!
code=$?
if [ -s "$RANKPOOL_CODE_FILE" ]; then
    code=$(<"$RANKPOOL_CODE_FILE")
    rm -f "$RANKPOOL_CODE_FILE"
fi

# 75: the run has stopped in time, and goes on from its journal when the job starts again. 137: its ranks were killed,
# as srun does with all of them when one dies. The limits end a job that never gets further.
case $code in
75) restarts=100 ;;
137) restarts=3 ;;
*) restarts=0 ;;
esac
if [ -z "$stopped" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$restarts" ]; then
    scontrol requeue "$SLURM_JOB_ID" && exit
fi
exit "$code"
