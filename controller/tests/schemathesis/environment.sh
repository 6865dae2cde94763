#!/usr/bin/env bash
# Prints the program `st` of an environment with requirements.txt; makes it where there is none yet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}
venv=$cache/schemathesis/$(sha256sum "$here/requirements.txt" | cut -c1-16)
if [[ ! -e $venv/complete ]]; then
  mkdir -p "$cache/schemathesis"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
  touch "$venv/complete"
fi
echo "$venv/bin/st"
