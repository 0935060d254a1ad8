#!/usr/bin/env bash
# Makes target/tools/redis-server: a Redis or Valkey server for the tests, without root.
#
#   tests/e2e/redis-server.sh FILE
#
# FILE becomes a command that starts the one on the PATH, or else one from Debian's packages,
# unpacked beside FILE with those of its libraries that this machine does not have.
set -euo pipefail

mkdir -p "$(dirname "$1")"
tools=$(cd "$(dirname "$1")" && pwd)
command=$tools/$(basename "$1")
home=$tools/redis

write() { # the command: "exec …"
    printf '#!/bin/sh\n%s "$@"\n' "$1" > "$command.new"
    chmod +x "$command.new"
    "$command.new" --version > /dev/null || fail "the server at hand does not start: $1"
    mv "$command.new" "$command"
}

fail() {
    echo "redis-server.sh: $1" >&2
    echo "redis-server.sh: the tests of shared limits need a Redis or Valkey server:" \
        "install one (Debian: redis-server), or see that apt-get can reach a mirror" >&2
    exit 1
}

for name in redis-server valkey-server; do
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

# The machine's own package lists where it has some; else lists of our own.
apt=()
if ! apt-cache show redis-server > /dev/null 2>&1; then
    apt=(-o "Dir::State::lists=$home/lists" -o "Dir::Cache=$home/cache" -o APT::Sandbox::User=)
    apt-get "${apt[@]}" -qq update || fail "apt-get could not fetch the lists of packages"
fi

# redis-server, and whatever it stands on that is not installed here.
plan=$(apt-get "${apt[@]}" --simulate --no-install-recommends install redis-server) \
    || fail "apt-get does not know redis-server"
mapfile -t missing < <(awk '$1 == "Inst" { print $2 }' <<< "$plan")
apt-get "${apt[@]}" -qq -o APT::Sandbox::User= download "${missing[@]}" > /dev/null \
    || fail "apt-get could not download ${missing[*]}"
for package in *.deb; do dpkg -x "$package" root; done
rm -rf -- *.deb lists cache

server=$(find root -name redis-server -path '*bin*' | head -n 1)
[[ -n $server ]] || fail "Debian's packages hold no redis-server"
libraries=$(find "$home/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd :)
write "LD_LIBRARY_PATH='$libraries' exec '$home/$server'"
