#!/bin/bash
# A real Slurm on this host, for tests: munged, slurmctld and one slurmd for each of the nodes n1, n2, ...
# As root, without systemd, on the loopback alone; all that it writes is in DIR. Each node has a host name of its own,
# and more CPUs than there are.
#
#   cluster.sh start DIR [NODES]   starts it, waits until all nodes are idle, prints SLURM_CONF=DIR/slurm.conf
#   cluster.sh stop DIR            ends it, also after a start that failed; the logs stay in DIR
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

usage() {
    echo "usage: cluster.sh start DIR [NODES] | stop DIR" >&2
    exit 2
}
[ $# -ge 2 ] || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)
nodes=${3:-2}
export SLURM_CONF=$dir/slurm.conf

# A port that nobody listens on, below those that the kernel gives out itself.
port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        case " ${taken-} " in *" $port "*) continue ;; esac
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    taken="${taken-} $port"
    REPLY=$port
}

configure() {
    mkdir -p "$dir"/{state,log,run,spool}
    # Munged wants to be reachable by all users, in folders that only their owner changes.
    chmod 755 "$dir" "$dir"/{state,log,run,spool}
    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")
    port
    cat >"$SLURM_CONF" <<CONF
ClusterName=rankpool
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$REPLY
SlurmUser=root
SlurmdUser=root
# Nobody outside of this host is answered.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# A requeued job waits until its old credentials have expired: two minutes by default, 5 s at least.
AuthInfo=socket=$dir/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdSpoolDir=$dir/spool/%n
SlurmdPidFile=$dir/run/%n.pid
SlurmdLogFile=$dir/log/%n.log
# PMIx keeps its files there; fake nodes must not share them.
TmpFS=$dir/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Where it is above the number of a job's nodes, 50 by default, the tree has no branches: then the barrier in MPI_Init
# holds within each node only, and now and then a rank dies of a message that comes too early.
TreeWidth=2
# Queues are looked at every second, not every minute.
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
# Jobs leave files in /tmp by their numbers: those of a cluster beside this one must be others.
FirstJobId=$((RANDOM * 2000 + 1))
# The nodes have the CPUs that this file says, however many there are.
SlurmdParameters=config_overrides
InactiveLimit=0
KillWait=5
MinJobAge=600
CONF
    cp /etc/hosts "$dir/hosts"
    for node in $(seq "$nodes"); do
        port
        echo "NodeName=n$node NodeHostname=n$node NodeAddr=127.0.0.1 Port=$REPLY CPUs=16 RealMemory=8000"
        mkdir -p "$dir/spool/n$node"
        echo "127.0.0.1 n$node" >>"$dir/hosts"
    done >>"$SLURM_CONF"
    cat >>"$SLURM_CONF" <<CONF
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2
CONF
}

# A slurmd on what MPI takes for a host of its own: with a host name, which resolves there, and shared memory.
slurmd_on() {
    # shellcheck disable=SC2016  # the inner shell expands its arguments
    unshare --uts --mount sh -euc '
        hostname "$1"
        mount --bind "$2" /etc/hosts
        mount -t tmpfs tmpfs /dev/shm
        exec slurmd -N "$1"' sh "$1" "$dir/hosts"
}

start() {
    configure
    export RANKPOOL_TEST_CLUSTER=$dir
    munged --key-file="$dir/munge.key" --socket="$dir/run/munge.socket" --pid-file="$dir/run/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/state/munged.seed" --num-threads=2
    slurmctld -f "$SLURM_CONF"
    for node in $(seq "$nodes"); do
        slurmd_on "n$node"
    done
    for _ in $(seq 300); do
        idle=$(sinfo -h -p main -t idle -o %D 2>/dev/null || true)
        if [ "$idle" = "$nodes" ]; then
            echo "SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.1
    done
    echo "cluster.sh: not all nodes became idle; see $dir/log" >&2
    tail -n 5 "$dir"/log/*.log >&2
    return 1
}

# The living processes of this cluster: daemons and steps by the mark of `start`, jobs by their environment.
ours() {
    {
        grep -lzxF "RANKPOOL_TEST_CLUSTER=$dir" /proc/[0-9]*/environ
        grep -lzxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ | xargs -r grep -lz '^SLURM_JOB_ID='
    } 2>/dev/null | cut -d/ -f3 | sort -u
}

# Waits up to $1 seconds until a command prints nothing.
silent() {
    local limit=$((SECONDS + $1))
    shift
    while [ -n "$("$@" 2>/dev/null)" ]; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.1
    done
}

stop() {
    # Jobs that are killed by Slurm take along what they started.
    if [ -e "$SLURM_CONF" ] && timeout 5 scancel --quiet --signal=KILL --full --user=root 2>/dev/null; then
        timeout 5 scancel --quiet --user=root || true
        silent 10 timeout 5 squeue -h || true
    fi
    # The daemons have nothing to hand over; what does not end at once is killed.
    for signal in TERM KILL; do
        # shellcheck disable=SC2046  # a list of numbers
        [ -z "$(ours)" ] || kill -$signal $(ours) 2>/dev/null || true
        silent 5 ours && return
    done
    echo "cluster.sh: processes are left: $(ours | xargs)" >&2
    return 1
}

case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
