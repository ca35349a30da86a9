#!/bin/sh
# The entrypoint of the image: makes the user that `docker run --user` names fit for MPI, and runs the command.
set -eu

names=/var/lib/extrausers/passwd
if ! getent passwd "$(id -u)" >/dev/null && [ -w "$names" ]; then
    echo "user$(id -u):x:$(id -u):$(id -g)::/tmp:/bin/sh" >>"$names"
fi
if ! [ -w "${HOME:-/}" ]; then
    export HOME=/tmp
fi
# Nobody is root in here without having asked for it, so Open MPI need not ask again.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# The launcher's daemons would try a bridge that other hosts cannot reach, and 127.0.0.1, where a daemon of a host may
# find itself in the place of mpiexec.
if [ -e /sys/class/net/docker0 ]; then
    export OMPI_MCA_oob_tcp_if_exclude="${OMPI_MCA_oob_tcp_if_exclude:-lo,docker0}"
fi
exec "$@"
