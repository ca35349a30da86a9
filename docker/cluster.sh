#!/bin/sh
# A container of the cluster in compose.yaml.
#   cluster worker   answers ssh, so that mpiexec can start ranks here
#   cluster head     the same, and keeps the host file
#   cluster hosts    writes the host file anew, at once
set -eu

hosts=/cluster/hosts
keys=/cluster/ssh

# The first container makes the keys, for all of them, in the volume that they share. Whoever comes second
# cannot put a folder in the place of one that is there.
make_keys() {
    [ -d "$keys" ] && return
    new=$(mktemp -d /cluster/new.XXXXXX)
    ssh-keygen -q -t ed25519 -N "" -C cluster -f "$new/host"
    ssh-keygen -q -t ed25519 -N "" -C cluster -f "$new/user"
    echo "cluster $(cat "$new/host.pub")" >"$new/known_hosts"
    mv -T "$new" "$keys" 2>/dev/null || rm -r "$new"
}

# A line for this container, where rank 0 schedules, and one for each worker: the name of their service
# resolves to the addresses of all, and each address back to a name such as docker_worker_1.
write_hosts() {
    slots=${CLUSTER_SLOTS:-$(nproc)}
    new=$(mktemp "$hosts.XXXXXX")
    echo "$(hostname) slots=1" >"$new"
    getent ahostsv4 worker | cut -d' ' -f1 | sort -u | while read -r address; do
        name=$(getent hosts "$address" | awk '{ print $2 }')
        name=${name%%.*}
        echo "${name:-$address} slots=$slots"
    done | sort -V >>"$new"
    chmod 644 "$new"
    mv "$new" "$hosts"
}

serve() {
    make_keys
    if ! [ -r "$keys/user" ]; then
        echo "cluster: the keys are another user's: take the cluster down with its volumes (down -v)" >&2
        exit 1
    fi
    if [ "$(id -u)" = 0 ]; then
        mkdir -p /run/sshd # Only root's sshd wants it.
    fi
    exec /usr/sbin/sshd -D -e
}

case ${1:-} in
worker)
    serve
    ;;
head)
    write_hosts
    while sleep 2; do
        write_hosts
    done &
    serve
    ;;
hosts)
    write_hosts
    cat "$hosts"
    ;;
*)
    echo "usage: cluster worker|head|hosts" >&2
    exit 2
    ;;
esac
