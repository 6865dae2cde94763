#!/usr/bin/env bash
# until.sh SECONDS WHAT COMMAND...: waits until the command succeeds, at most so long.
set -euo pipefail
limit=$1 what=$2
shift 2
for ((i = 0; i < limit * 5; i++)); do
  "$@" && exit 0
  sleep 0.2
done
echo "waited $limit s for $what" >&2
exit 1
