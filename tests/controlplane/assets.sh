#!/usr/bin/env bash
# Prints the path of the modelfleet-controlplane binary, and builds it first if needed.
# The binary is kept under a hash of its sources, outside the source tree.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}/controlplane"

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

cd "$here"
hash=$(cat go.mod go.sum ./*.go apiserver.flags | sha256 | cut -c1-16)
home="$cache/$hash"
binary="$home/modelfleet-controlplane"

build() {
  if ! command -v go >/dev/null; then
    cat >&2 <<'MSG'
modelfleet-controlplane is not built yet, and `go` is not in PATH.
Do one of these:
  - install Go (1.21 or newer; it fetches the version named in go.mod by itself): https://go.dev/dl/
  - set KUBEBUILDER_ASSETS to a folder with ready kube-apiserver and etcd binaries
    (setup-envtest prints one) and use run.sh, which then needs no Go
MSG
    exit 1
  fi
  echo "building modelfleet-controlplane; the first time takes some minutes" >&2
  # Without this the server would call itself v0.0.0.
  local version major minor
  version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' go.mod)
  IFS=. read -r major minor _ <<<"${version#v}"
  local v=k8s.io/component-base/version
  # Aside and renamed: a build that is cut short must not leave a half binary.
  local next="$binary.next.$$"
  GOWORK=off CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath \
    -ldflags="-s -w -X $v.gitVersion=$version -X $v.gitMajor=$major -X $v.gitMinor=$minor" \
    -o "$next" . >&2
  mv -f "$next" "$binary"
}

if [[ ! -x $binary ]]; then
  mkdir -p "$home"
  (
    # Parallel callers build once. Where flock is missing they all build, which is only slow.
    if command -v flock >/dev/null; then flock 9; fi
    [[ -x $binary ]] || build
  ) 9>"$home/lock"
fi
echo "$binary"
