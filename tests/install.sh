#!/usr/bin/env bash
# Sees that what Modelfleet builds and runs with is there. As root on Debian it installs what is missing;
# elsewhere it lists it.
set -euo pipefail

packages=() by_hand=()

need() { # command, Debian package, how to get it elsewhere
  local path=$PATH:/usr/sbin
  PATH=$path command -v "$1" >/dev/null 2>&1 && return
  if [[ -n $2 ]]; then packages+=("$2"); else by_hand+=("$1: $3"); fi
}

need cc gcc ''
need git git ''
need flock util-linux ''
need setpriv util-linux ''
need unzip unzip ''
need mosquitto mosquitto ''
need softhsm2-util softhsm2 ''
need promtool prometheus ''
need amtool prometheus-alertmanager ''
need mosquitto_pub mosquitto-clients ''
need minisign minisign ''
need python3 python3 ''
need cargo '' 'Rust 1.95 or newer, by rustup'
need kubectl '' 'kubectl, a release of the last year'
[[ -x ${KUBEBUILDER_ASSETS:-/nowhere}/kube-apiserver ]] ||
  need go '' 'Go 1.21 or newer (it builds the test API server), or KUBEBUILDER_ASSETS with kube-apiserver and etcd'
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)

if ((${#packages[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "install.sh: installing ${packages[*]}" >&2
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
      >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
    # Debian starts its servers at once; ours are started by those who need them.
    if command -v systemctl >/dev/null; then systemctl disable --now mosquitto prometheus prometheus-alertmanager >/dev/null 2>&1 || true; fi
  else
    by_hand+=("${packages[@]/%/ (a package of this name in Debian)}")
  fi
fi

if ((${#by_hand[@]})); then
  echo "Please install, then run this again:" >&2
  printf '  - %s\n' "${by_hand[@]}" >&2
  exit 1
fi
