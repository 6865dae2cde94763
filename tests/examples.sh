#!/usr/bin/env bash
# The claims that the examples make about their data and models, measured again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}
wanted=$(cat examples/*/requirements.txt | sha256sum | cut -c1-16)
venv=$cache/examples/$wanted
if [[ ! -e $venv/complete ]]; then
  mkdir -p "$cache/examples"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check $(printf -- '-r %s ' examples/*/requirements.txt)
  touch "$venv/complete"
fi
"$venv/bin/python" -m pytest -q -p no:cacheprovider examples
