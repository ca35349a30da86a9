#!/bin/bash
# The shell in which tests/guides.rs runs a block of a guide, $1: in the folder and with the variables that the block
# before it has left, and with stand-ins for what only a site has.

# The modules of the site: here everything is there already.
module() {
    case "$1 $#" in
    "avail 2" | "load "[2-9]) ;;
    *) echo "module: $* is not understood" >&2 && return 1 ;;
    esac
}

# PBS starts a script in an allocation; here it is just started.
qsub() {
    grep -q '^#PBS ' "$1" && bash "$1"
}
export -f module qsub

# Cargo itself, but for a debug build. With all features it is the one that the tests have made, where nothing is left
# to do. With fewer it is made for the first time, and kept in a folder of its own.
cargo() (
    folder=${CARGO_TARGET_DIR:-target}
    built=$(dirname "$(dirname "$PROGRAM")")
    set -- "${@/#--release/--profile=dev}" --manifest-path "$REPOSITORY/Cargo.toml"
    if [[ " $* " == *" --no-default-features "* ]]; then
        built=$KEPT
        export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=false
    else
        set -- "$@" --test guides
    fi
    CARGO_TARGET_DIR=$built command cargo "$@"
    mkdir -p "$folder/release"
    ln -sf "$built/debug/rankpool" "$folder/release/rankpool"
)

# pip itself, but for a debug build of the package, in the folder of all other builds.
pip() {
    case " $* " in
    *" ./python "*)
        CARGO_TARGET_DIR=$(dirname "$(dirname "$PROGRAM")") command pip "${@/#.\/python/$REPOSITORY/python}" \
            --quiet --config-settings=build-args=--profile=dev
        ;;
    *) command pip "$@" ;;
    esac
}

# The site has told Open MPI which network to use: here none of docker's, which leads nowhere. And an allocation has
# room for the ranks, however few cores this host has.
if [ ! -e ~/.openmpi ]; then
    mkdir -p ~/.openmpi ~/rankpool
    printf '%s\n' 'btl_tcp_if_include = lo' 'oob_tcp_if_include = lo' 'rmaps_base_oversubscribe = 1' \
        >~/.openmpi/mca-params.conf
fi

# The next block goes on from here. Some variables are each block's own: its Slurm, the mark by which the test finds
# its processes, and the folder of its temporary files, which ends with it.
own='RANKPOOL_TEST_MARK|SLURM_CONF|TMPDIR|OMPI_MCA_btl_vader_backing_directory'
state=~/.state
leave() {
    local code=$?
    export -p | grep -vE " ($own)=" >"$state"
    printf 'cd %q\n' "$PWD" >>"$state"
    exit $code
}
trap leave EXIT
# shellcheck disable=SC1090
[ ! -e "$state" ] || . "$state"
set -eu
eval "$1"
