#!/bin/sh
# Prints the names of two base images, of Debian and of Rust, on a line each. Where no registry of images is in
# reach they are stand-ins, made from Debian's packages and this machine's Rust toolchain. They are
# kept for the next time: their tags change with what they are made of.
# Code 3, with the reason on standard output: there can be no base images here.
set -eu

cannot() {
    echo "$*"
    exit 3
}

there() {
    docker image inspect "$1" >/dev/null 2>&1
}

suite=bookworm
sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# How this machine reaches its registries: proxies, certificates, its mirror of Debian, cargo's settings.
proxies=$(env | grep -iE '^((http|https|no|all)_proxy|CARGO_(HTTP|NET|REGISTR)[A-Z_]*)=' | sort || true)
# shellcheck disable=SC2016  # apt-get fills it in
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' \
    2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian/}
apt_conf=$(apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|Retries|ForceIPv)' || true)
certificates=/etc/ssl/certs/ca-certificates.crt

made_of=$(
    echo "$suite $(uname -m) $mirror $proxies $apt_conf"
    cat "$0" "$certificates" "$cargo_home/config.toml" 2>/dev/null || true
)
tag=$(echo "$made_of" | sha256sum | cut -c 1-12)
debian=rankpool-test/debian:$tag
rust=rankpool-test/rust:$tag-$(rustc --version | cut -d' ' -f2)

if there "$debian" && there "$rust"; then
    printf '%s\n%s\n' "$debian" "$rust"
    exit
fi

# debootstrap needs root.
can_make() {
    [ "$(id -u)" = 0 ] || return
    command -v debootstrap >/dev/null && return
    command -v apt-get >/dev/null || return
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
}

if ! can_make; then
    for image in debian:$suite-slim rust:1-$suite; do
        there "$image" || docker pull -q "$image" >&2 ||
            cannot "$image cannot be pulled, and only root can make a stand-in, with debootstrap"
    done
    printf '%s\n%s\n' debian:$suite-slim rust:1-$suite
    exit
fi

# Older ones are of no use any more.
for old in $(docker images --format '{{.Repository}}:{{.Tag}}' 'rankpool-test/[dr]*'); do
    docker rmi "$old" >/dev/null 2>&1 || true
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "making $debian" >&2
root=$folder/debian
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$folder/log" 2>&1 || {
    tail -n 5 "$folder/log" >&2
    cannot "debootstrap fails"
}
echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
echo "$apt_conf" >"$root/etc/apt/apt.conf.d/machine"
mkdir -p "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates"
cp "$certificates" "$root/etc/ssl/certs/" 2>/dev/null || true
cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
# Slim, as the official one: without documentation, now and later.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
END
find "$root/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$root"/usr/share/info/* "$root"/usr/share/locale/* "$root"/usr/share/man/* \
    "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
tar -C "$root" -c . >"$folder/debian.tar"
set -- # The proxies as arguments.
while read -r variable; do
    [ -z "$variable" ] || set -- "$@" --change "ENV ${variable%%=*}=\"${variable#*=}\""
done <<END
$proxies
END
docker import "$@" "$folder/debian.tar" "$debian" >&2

echo "making $rust" >&2
context=$folder/rust
mkdir "$context"
{
    echo "FROM $debian"
    echo "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev"
    echo "COPY toolchain /usr/local/"
    echo "COPY cargo /usr/local/cargo/"
    echo "ENV CARGO_HOME=/usr/local/cargo"
} >"$context/Dockerfile"
mkdir "$context/cargo" "$context/toolchain"
cp "$cargo_home/config.toml" "$context/cargo/" 2>/dev/null || true
cp -r "$sysroot/bin" "$sysroot/lib" "$context/toolchain/"
docker build -t "$rust" "$context" >"$folder/log" 2>&1 || {
    tail -n 20 "$folder/log" >&2
    exit 1
}

printf '%s\n%s\n' "$debian" "$rust"
