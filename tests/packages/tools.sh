#!/usr/bin/env bash
# Prints the path of a tool that go.mod pins, and builds it first if needed: `tools.sh helm`.
# It is kept under a hash of go.mod and go.sum, outside the source tree.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
case ${1:?which tool} in
  helm) package=helm.sh/helm/v4/cmd/helm ;;
  krew | validate-krew-manifest) package=sigs.k8s.io/krew/cmd/$1 ;;
  *) echo "tools.sh: unknown tool $1" >&2; exit 1 ;;
esac

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
hash=$(cat go.mod go.sum | sha256 | cut -c1-16)
home=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}/packages/$hash
binary=$home/$1

if [[ ! -x $binary ]]; then
  command -v go >/dev/null || { echo "tools.sh: $1 is not built yet, and go is not in PATH: https://go.dev/dl/" >&2; exit 1; }
  mkdir -p "$home"
  (
    # Parallel callers build once. Aside and renamed: a build that is cut short leaves no half binary.
    if command -v flock >/dev/null; then flock 9; fi
    [[ -x $binary ]] && exit
    echo "building $1; the first time takes some minutes" >&2
    GOWORK=off CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags='-s -w' -o "$binary.next.$$" "$package" >&2
    mv -f "$binary.next.$$" "$binary"
  ) 9>"$home/lock"
fi
echo "$binary"
