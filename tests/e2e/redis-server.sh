#!/usr/bin/env bash
# Makes target/tools/redis-server: a Redis or Valkey server for the tests, without root.
#
#   tests/e2e/redis-server.sh FILE [PACKAGE]
#
# FILE becomes a command that starts the one on the PATH, or else one from Debian's packages,
# unpacked beside FILE with those of its libraries that this machine does not have. With
# PACKAGE (redis-server, valkey-server), that one and no other.
set -euo pipefail

mkdir -p "$(dirname "$1")"
tools=$(cd "$(dirname "$1")" && pwd)
command=$tools/$(basename "$1")
package=${2:-redis-server}
home=$tools/${package%-server}

write() { # the command: "exec …"
    printf '#!/bin/sh\n%s "$@"\n' "$1" > "$command.new"
    chmod +x "$command.new"
    "$command.new" --version > /dev/null || fail "the server at hand does not start: $1"
    mv "$command.new" "$command"
}

fail() {
    echo "redis-server.sh: $1" >&2
    echo "redis-server.sh: the tests of shared limits need a Redis and a Valkey server:" \
        "install them (Debian: redis-server, valkey-server)," \
        "or see that apt-get can reach a mirror" >&2
    exit 1
}

for name in ${2:-redis-server valkey-server}; do
    if found=$(command -v "$name"); then
        write "exec '$found'"
        exit
    fi
done

command -v apt-get > /dev/null && command -v dpkg > /dev/null \
    || fail "there is none on the PATH, and this is no Debian to get one from"
rm -rf "$home"
mkdir -p "$home/lists/partial" "$home/cache/archives/partial"
cd "$home"

# The machine's own package lists where they have it; else lists of our own, with backports:
# Debian 12 has Valkey there.
apt=()
if ! apt-cache show "$package" > /dev/null 2>&1; then
    cat /etc/apt/sources.list > sources 2> /dev/null || true
    (
        . /etc/os-release
        [[ $ID != debian ]] || echo "deb http://deb.debian.org/debian $VERSION_CODENAME-backports main"
    ) >> sources
    apt=(-o "Dir::Etc::sourcelist=$home/sources" -o "Dir::State::lists=$home/lists"
        -o "Dir::Cache=$home/cache" -o APT::Sandbox::User=)
    apt-get "${apt[@]}" -qq update || fail "apt-get could not fetch the lists of packages"
fi

# The server, and whatever it stands on that is not installed here.
plan=$(apt-get "${apt[@]}" --simulate --no-install-recommends install "$package") \
    || fail "apt-get does not know $package"
mapfile -t missing < <(awk '$1 == "Inst" { print $2 }' <<< "$plan")
apt-get "${apt[@]}" -qq -o APT::Sandbox::User= download "${missing[@]}" > /dev/null \
    || fail "apt-get could not download ${missing[*]}"
for deb in *.deb; do dpkg -x "$deb" root; done
rm -rf -- *.deb lists cache sources

server=$(find root -name "$package" -path '*bin*' | head -n 1)
[[ -n $server ]] || fail "Debian's packages hold no $package"
libraries=$(find "$home/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd :)
write "LD_LIBRARY_PATH='$libraries' exec '$home/$server'"
