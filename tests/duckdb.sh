#!/usr/bin/env bash
# Prints the path of a Python that has DuckDB, which is installed from PyPI once.
set -euo pipefail

version=1.4.1
cache=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}
venv=$cache/duckdb/$version
if [[ ! -e $venv/complete ]]; then
  mkdir -p "$cache/duckdb"
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==$version" >&2
  touch "$venv/complete"
fi
echo "$venv/bin/python"
