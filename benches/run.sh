#!/usr/bin/env bash
# Takes DESIGN §13's figures and prints them as one table. `make bench` runs this.
#
#   benches/run.sh            every figure; a few minutes, best on an idle machine
#   benches/run.sh --short    a smoke test of the same: the numbers mean little
#
# Other arguments go to the proxy bench (--rounds, --requests, --streams, --contenders; see
# --help there).
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/bench-venv
out=target/bench
micro_arguments=()
journal_arguments=()
for argument in "$@"; do
    if [[ $argument == --short ]]; then
        micro_arguments=(--max-time 0.1)
        journal_arguments=(--short)
    fi
done

# Envoy, from PyPI, and anew only when the pinned version changed.
if ! cmp --silent benches/requirements.txt "$venv/.requirements"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement benches/requirements.txt
    cp benches/requirements.txt "$venv/.requirements"
fi

# A Redis server: the one at hand, or Debian's.
redis=target/tools/redis-server
if [[ ! -x $redis ]]; then tests/e2e/redis-server.sh "$redis"; fi

# `cargo bench` builds the gateway anew, with what dev-dependencies add to the crates it uses:
# the one that is measured is the one that is shipped.
cargo build --release --locked
mkdir -p "$out"
cp target/release/sagegate "$out/sagegate"
cargo bench --locked --no-run --bench journal --bench micro --bench proxy

# A thousand connections need more than the 1,024 descriptors that many shells allow.
if (( $(ulimit -Sn) < 4096 )); then ulimit -Sn 4096; fi

cargo bench --locked --bench micro -- "${micro_arguments[@]}" | tee "$out/micro.txt"
echo
cargo bench --locked --bench journal -- "${journal_arguments[@]}" | tee "$out/journal.txt"
echo
# The package's own command starts Python first, which would count as Envoy's start.
envoy=$("$venv/bin/python" -c 'import envoy; print(envoy.__path__[0] + "/_bin/envoy")')
cargo bench --locked --bench proxy -- --envoy "$envoy" --redis "$redis" \
    --sagegate "$out/sagegate" "$@" | tee "$out/proxy.txt"
echo
python3 benches/figures.py "$out/micro.txt" "$out/proxy.txt"
