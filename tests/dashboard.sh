#!/usr/bin/env bash
# The dashboard in a real Chromium, over a real API server. Screenshots are left in target/dashboard.
# DASHBOARD_ROLLOUTS: how many rollouts its first page has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v chromium >/dev/null; then
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || { echo "dashboard.sh: install chromium (a package of this name in Debian)" >&2; exit 1; }
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >/dev/null
fi
if [[ -z ${MODELFLEET_BIN_DIR:-} ]]; then
  cargo build --locked -p modelfleet-cli --bins
  export MODELFLEET_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
fi
if [[ -z ${MODELFLEET_KUBECONFIG:-} ]]; then
  dir=$(mktemp -d "${TMPDIR:-/tmp}/modelfleet-dashboard.XXXXXX")
  tests/controlplane/run.sh --dir "$dir/control-plane" --exit-with-parent >"$dir/log" 2>&1 &
  server=$!
  trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
  tests/until.sh 2400 "the API server" test -s "$dir/control-plane/kubeconfig" || { cat "$dir/log" >&2; exit 1; }
  export MODELFLEET_KUBECONFIG=$dir/control-plane/kubeconfig
  kubectl --kubeconfig "$MODELFLEET_KUBECONFIG" apply -k manifests >/dev/null
fi
python3 tests/dashboard/test_dashboard.py "$@"
