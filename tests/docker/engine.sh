#!/bin/sh
# Sees to a docker engine for the tests.
#   engine.sh start FOLDER   uses the engine that runs, or installs and starts one, whose log goes into FOLDER
#   engine.sh stop FOLDER    ends what start has started, and nothing else
# Code 3, with the reason on standard output: there can be no engine here.
set -eu

action=$1 folder=$2

cannot() {
    echo "$*"
    exit 3
}

install() {
    [ "$(id -u)" = 0 ] || cannot "$* is not installed, and only root can"
    command -v apt-get >/dev/null || cannot "$* is not installed, and there is no apt-get"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        cannot "$* cannot be installed"
}

start() {
    command -v docker >/dev/null || install docker.io
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || install docker-compose
    docker info >/dev/null 2>&1 && return
    command -v dockerd >/dev/null || install docker.io
    command -v iptables >/dev/null || install iptables
    # An installation may have started the engine.
    docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || cannot "no docker engine answers, and only root can start one"
    echo "starting dockerd" >&2
    # It outlives this script, so it must not count as left behind by it.
    env -u RANKPOOL_TEST_MARK setsid dockerd >"$folder/dockerd.log" 2>&1 &
    echo $! >"$folder/dockerd.pid"
    for _ in $(seq 120); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$(cat "$folder/dockerd.pid")" 2>/dev/null || break
        sleep 0.5
    done
    stop
    cannot "dockerd does not start: $(tail -n 1 "$folder/dockerd.log")"
}

stop() {
    [ -e "$folder/dockerd.pid" ] || return 0
    pid=$(cat "$folder/dockerd.pid")
    rm "$folder/dockerd.pid"
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 60); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.5
    done
    kill -KILL "$pid" 2>/dev/null || true
    # It leaves its bridge behind, which leads nowhere now.
    ip link delete docker0 2>/dev/null || true
}

"$action"
