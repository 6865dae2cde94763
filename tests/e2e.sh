#!/usr/bin/env bash
# End to end on the real parts: kube-apiserver, Mosquitto, agents, controller, kubectl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --workspace --locked --bins
target=${CARGO_TARGET_DIR:-$PWD/target}
export MODELFLEET_BIN_DIR=$target/debug
MODELFLEET_ONNXRUNTIME=$(device-agent/onnxruntime.sh)
export MODELFLEET_ONNXRUNTIME

# Each crate's own questions to a real API server.
dir=$(mktemp -d "${TMPDIR:-/tmp}/modelfleet-e2e.XXXXXX")
tests/controlplane/run.sh --dir "$dir/control-plane" --exit-with-parent >"$dir/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
tests/until.sh 2400 "the API server" test -s "$dir/control-plane/kubeconfig" || { cat "$dir/log" >&2; exit 1; }
export MODELFLEET_KUBECONFIG=$dir/control-plane/kubeconfig
kubectl --kubeconfig "$MODELFLEET_KUBECONFIG" apply -k manifests >/dev/null
# Of the whole workspace, as the unit tests were: so the crates of others need not be built again.
cargo test --workspace --locked --features real-parts,api-server \
  --test server --test against_a_server -- --test-threads=1
# Two at a time: each has a namespace, a broker and a controller of its own, and waits most of the time.
cargo test --workspace --locked --features real-parts,api-server --test whole -- --test-threads=2

# The pages in a real browser.
tests/dashboard.sh

# What a stranger copies from the README.
tests/first_rollout.sh

# Whole plants, one after another: two cores are one plant's worth.
cargo test --locked -p modelfleet-tests --features e2e -- --test-threads=1 --nocapture
