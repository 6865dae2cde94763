#!/bin/sh
# Prints the Python of an environment with requirements.txt; makes it where there is none yet.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-${TMPDIR:-/tmp}/modelfleet-golden}
if [ ! -f "$directory/ready" ]; then
    python3 -m venv "$directory" >&2
    "$directory/bin/pip" install --quiet --requirement "$here/requirements.txt" >&2
    touch "$directory/ready"
fi
echo "$directory/bin/python"
