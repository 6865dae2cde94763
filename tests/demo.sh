#!/usr/bin/env bash
# Builds what the demo needs and runs it in a folder of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "Building (the first time takes some minutes) ..." >&2
cargo build --release --locked -p modelfleet-controller -p modelfleet-agent -p modelfleet-cli \
  -p modelfleet-load -p modelfleet-tests --bins
dir=$(mktemp -d "${TMPDIR:-/tmp}/modelfleet-demo.XXXXXX")
target=${CARGO_TARGET_DIR:-$PWD/target}
MODELFLEET_BIN_DIR=$target/release "$target/release/demo" --dir "$dir" "$@"
rm -rf "$dir"
