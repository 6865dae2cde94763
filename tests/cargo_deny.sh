#!/usr/bin/env bash
# Prints the path of cargo-deny, building it once where it is missing (two to three minutes on two cores).
#
#   MODELFLEET_CACHE   where to keep it (otherwise $XDG_CACHE_HOME/modelfleet or ~/.cache/modelfleet)
set -euo pipefail

version=0.20.2
cache=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}/cargo-deny
program=$cache/$version/bin/cargo-deny

if [[ ! -x $program ]]; then
  mkdir -p "$cache"
  # One at a time; who comes second finds it there.
  exec 9>"$cache/lock"
  flock 9
  if [[ ! -x $program ]]; then
    echo "cargo_deny.sh: building cargo-deny $version, once" >&2
    fresh=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # Without optimisation it is built sooner, and still checks in seconds. A target folder of its own: the workspace's
    # is not for programs that the workspace does not hold.
    log=$cache/log
    CARGO_PROFILE_DEV_DEBUG=false cargo install cargo-deny --version "$version" --locked --debug --no-track --root "$fresh" \
      --target-dir "$fresh/target" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
    rm -rf "$fresh/target" "${cache:?}/$version"
    mv "$fresh" "$cache/$version"
    trap - EXIT
  fi
fi
printf '%s\n' "$program"
