#!/usr/bin/env bash
# README's first rollout, word for word: the shell blocks of that section run in their order against a real API server,
# a real broker, a real controller and real devices. Only the variables that the README declares are set from here.
#
# With MODELFLEET_KUBECONFIG the API server is the one that it names; otherwise one is started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/modelfleet-first.XXXXXX")
server='' trial=''
finish() {
  local status=$?
  # Everything that the blocks started is in the process group of their shell.
  [[ -z $trial ]] || kill -- "-$trial" 2>/dev/null || true
  if ((status)); then tail -n 25 "$dir"/trial/*.log "$dir/log" >&2 2>/dev/null || true; fi
  [[ -z $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

if [[ -z ${MODELFLEET_KUBECONFIG:-} ]]; then
  tests/controlplane/run.sh --dir "$dir/control-plane" --exit-with-parent >"$dir/log" 2>&1 &
  server=$!
  tests/until.sh 2400 "the API server" test -s "$dir/control-plane/kubeconfig"
  MODELFLEET_KUBECONFIG=$dir/control-plane/kubeconfig
fi
export KUBECONFIG=$MODELFLEET_KUBECONFIG

# The blocks of the section, with the indentation of their list taken off.
python3 - README.md >"$dir/blocks.sh" <<'PYTHON'
import re, sys, textwrap
text = open(sys.argv[1], encoding="utf-8").read()
section = text.split("\n## Your first rollout\n", 1)[1].split("\n## ", 1)[0]
blocks = re.findall(r"^( *)```sh\n(.*?)^\1```$", section, re.M | re.S)
assert len(blocks) >= 8, f"{len(blocks)} blocks: has the section another form?"
print("set -e")
for _, block in blocks:
    block = textwrap.dedent(block)
    print(block)
PYTHON

# Free ports, close to each other, in the order of the README.
read -r broker store controller device < <(python3 - <<'PYTHON'
import socket
held = [socket.socket() for _ in range(3)]
for one in held:
    one.bind(("127.0.0.1", 0))
ports = [one.getsockname()[1] for one in held]
base = next(b for b in range(21000, 32000, 10) if b not in ports and all(
    socket.socket().connect_ex(("127.0.0.1", b + i)) for i in range(1, 5)))
print(*ports, base)
PYTHON
)
export NAMESPACE=first-rollout TRIAL=$dir/trial
export BROKER_PORT=$broker STORE_PORT=$store CONTROLLER_PORT=$controller DEVICE_PORT=$device
mkdir -p "$TRIAL"

# A shell of its own process group, so that nothing of it is left whatever happens.
set -m
bash "$dir/blocks.sh" >"$dir/said" 2>&1 &
trial=$!
set +m
failed=0
wait "$trial" || failed=$?
cat "$dir/said"
# The last block ends by deleting the trial's folder; what it started has ended with its shell.
((failed == 0)) || { echo "README's first rollout failed with $failed" >&2; exit 1; }

expect() { grep -qF -- "$1" "$dir/said" || { echo "README's first rollout did not say: $1" >&2; exit 1; }; }
expect "Version 1.0.0 is in production"
expect '"model_version"'
expect "Rolled back 1.1.0 on 1 device: spec.abort was set."
[[ ! -e $TRIAL ]] || { echo "$TRIAL is left" >&2; exit 1; }
