#!/usr/bin/env bash
# End to end on the real parts: kube-apiserver, Mosquitto, agents, controller, kubectl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --workspace --locked --bins
target=${CARGO_TARGET_DIR:-$PWD/target}
export MODELFLEET_BIN_DIR=$target/debug
# One after another: each brings up a whole plant, and two cores are one plant's worth.
cargo test -p modelfleet-tests --locked --features e2e -- --test-threads=1 --nocapture
