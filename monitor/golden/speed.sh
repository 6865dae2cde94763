#!/bin/sh
# Times this crate and the Python libraries on the same data in one run, and prints one table.
#
#     monitor/golden/speed.sh [directory for the Python environment]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../../tests/golden/environment.sh" "${1:-}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/speed_data.py" > "$work/data.json"
cd "$here/.."
cargo build --quiet --release -p modelfleet-monitor --example speed
cargo run --quiet --release -p modelfleet-monitor --example speed -- "$work/data.json" > "$work/ours"
"$python" "$here/speed.py" "$work/data.json" "$work/ours"
