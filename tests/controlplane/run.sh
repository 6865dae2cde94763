#!/usr/bin/env bash
# Starts a control plane for tests and stays until SIGTERM or SIGINT.
#
#   run.sh --dir DIR [--port N] [--fsync] [--exit-with-parent] [--controllers=false]
#
# Prints `ready kubeconfig=DIR/kubeconfig` once the API answers. Everything is in DIR;
# a second start with the same DIR goes on with the same data, keys and (if free) port.
#
# If KUBEBUILDER_ASSETS names a folder with kube-apiserver and etcd, these are used, and
# no Go is needed. Otherwise our own binary is built (once) and used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
assets=${KUBEBUILDER_ASSETS:-}

if [[ -z $assets || ! -x $assets/kube-apiserver || ! -x $assets/etcd ]]; then
  [[ -z $assets ]] || echo "run.sh: no kube-apiserver and etcd in KUBEBUILDER_ASSETS, using our own" >&2
  binary=$("$here/assets.sh")
  exec "$binary" "$@"
fi

# ---- the pair from KUBEBUILDER_ASSETS ----

say() { echo "run.sh: $*" >&2; }
die() { say "$*"; exit 1; }

dir='' port='' fsync=false with_parent=false
while (($#)); do
  case $1 in
    --dir | -dir) dir=${2:?}; shift ;;
    --dir=*) dir=${1#*=} ;;
    --port | -port) port=${2:?}; shift ;;
    --port=*) port=${1#*=} ;;
    --fsync) fsync=true ;;
    --exit-with-parent) with_parent=true ;;
    --controllers | --controllers=*) ;; # the pair has none
    *) die "unknown argument $1" ;;
  esac
  shift
done
[[ -n $dir ]] || die "--dir is required"

kubectl=$assets/kubectl
[[ -x $kubectl ]] || kubectl=$(command -v kubectl) || die "kubectl is missing, in KUBEBUILDER_ASSETS and in PATH"
command -v openssl >/dev/null || die "openssl is missing"

umask 077
mkdir -p "$dir"
shown=$dir
dir=$(cd "$dir" && pwd)
pki=$dir/pki log=$dir/log
exec 9>"$dir/lock"
if command -v flock >/dev/null; then
  flock -n 9 || die "$dir is in use by another control plane"
fi
# A file left by an earlier run would look like "ready" to a script that waits for it.
rm -f "$dir/kubeconfig"

# A SIGKILL of this shell would leave the children behind; on Linux the kernel can prevent
# that. With KILL, because a kube-apiserver whose etcd goes away first does not end on TERM.
child=()
if [[ $(uname) == Linux ]] && command -v setpriv >/dev/null; then child=(setpriv --pdeathsig KILL); fi

etcd_pid='' api_pid=''
stop_one() {
  local pid=$1 i
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((i = 0; i < 100; i++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}
stop_all() {
  trap '' TERM INT
  # etcd goes last: the API server still writes while it stops.
  stop_one "$api_pid"
  stop_one "$etcd_pid"
}
trap stop_all EXIT
trap 'exit 0' TERM INT

make_pki() {
  local next=$pki.next
  rm -rf "$next"
  mkdir "$next"
  (
    cd "$next"
    key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
    # name, subject, extension lines
    leaf() {
      key "$1"
      openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
      printf '%b' "$3" >"$1.ext"
      openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 12)" \
        -days 3650 -sha256 -extfile "$1.ext" -out "$1.crt"
      rm "$1.csr" "$1.ext"
    }
    key ca
    printf '%s\n' '[req]' 'distinguished_name=dn' 'x509_extensions=ca' '[dn]' '[ca]' \
      'basicConstraints=critical,CA:true' 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature' \
      'subjectKeyIdentifier=hash' >ca.cnf
    openssl req -new -x509 -config ca.cnf -key ca.key -subj /CN=modelfleet-test-ca -days 3650 -sha256 -out ca.crt
    rm ca.cnf
    leaf apiserver /CN=kube-apiserver 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.0.0.1\n'
    leaf admin /O=system:masters/CN=admin 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n'
    key sa
    openssl pkey -in sa.key -pubout -out sa.pub
  ) >>"$log" 2>&1 || die "openssl failed, see $log"
  mv "$next" "$pki"
}
[[ -d $pki ]] || make_pki

# etcd picks free ports itself; its log tells which.
etcd_log=$dir/etcd.log
: >"$etcd_log"
${child[@]+"${child[@]}"} "$assets/etcd" --data-dir="$dir/etcd" --log-level=info \
  --unsafe-no-fsync="$([[ $fsync == true ]] && echo false || echo true)" \
  --heartbeat-interval=10 --election-timeout=100 \
  --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:0 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
  --initial-cluster=default=http://127.0.0.1:2380 >>"$etcd_log" 2>&1 9>&- &
etcd_pid=$!
etcd_at=
for ((i = 0; i < 600; i++)); do
  etcd_at=$(sed -n 's/.*serving client traffic insecurely.*"address":"\([0-9.:]*\)".*/\1/p' "$etcd_log" | head -n1)
  [[ -z $etcd_at ]] || break
  kill -0 "$etcd_pid" 2>/dev/null || die "etcd did not start, see $etcd_log"
  sleep 0.1
done
[[ -n $etcd_at ]] || die "etcd was not ready in time, see $etcd_log"

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
  local p
  while p=$((20000 + RANDOM % 12000)); listening "$p"; do :; done
  echo "$p"
}
start_api() {
  local line flags=()
  while read -r line; do
    [[ -n $line && $line != '#'* ]] || continue
    line=${line//@PORT@/$port}
    line=${line//@PKI@/$pki}
    line=${line//@ETCD@/http://$etcd_at}
    flags+=("$line")
  done <"$here/apiserver.flags"
  # The server makes this folder even when it is given a certificate.
  flags+=("--cert-dir=$dir/unused")
  ${child[@]+"${child[@]}"} "$assets/kube-apiserver" "${flags[@]}" >>"$log" 2>&1 9>&- &
  api_pid=$!
}
b64() { base64 <"$1" | tr -d '\n'; }
write_kubeconfig() {
  cat >"$dir/kubeconfig.next" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: modelfleet
  cluster:
    server: https://127.0.0.1:$port
    certificate-authority-data: $(b64 "$pki/ca.crt")
users:
- name: admin
  user:
    client-certificate-data: $(b64 "$pki/admin.crt")
    client-key-data: $(b64 "$pki/admin.key")
contexts:
- name: modelfleet
  context: {cluster: modelfleet, user: admin}
current-context: modelfleet
YAML
}

given=$port
[[ -n $port || ! -s $dir/port ]] || port=$(<"$dir/port")
if [[ -n $port ]] && listening "$port"; then
  [[ -z $given ]] || die "port $port is taken"
  say "port $port of the last run is taken, using another"
  port=
fi
ready=false
# Another process may take the port between the check and the start, hence some tries.
for try in 1 2 3; do
  [[ -n $port ]] || port=$(free_port)
  write_kubeconfig
  start_api
  for ((i = 0; i < 1200; i++)); do
    if "$kubectl" --kubeconfig "$dir/kubeconfig.next" --request-timeout=5s get --raw=/readyz >/dev/null 2>&1; then
      ready=true
      break 2
    fi
    kill -0 "$api_pid" 2>/dev/null || break
    sleep 0.1
  done
  stop_one "$api_pid"
  api_pid=
  [[ -z $given ]] || break
  port=
done
[[ $ready == true ]] || die "kube-apiserver did not become ready (try $try), see $log"
echo "$port" >"$dir/port"
mv "$dir/kubeconfig.next" "$dir/kubeconfig"
echo "ready kubeconfig=$shown/kubeconfig"

while sleep 0.3; do
  kill -0 "$api_pid" 2>/dev/null || die "kube-apiserver ended, see $log"
  kill -0 "$etcd_pid" 2>/dev/null || die "etcd ended, see $etcd_log"
  if [[ $with_parent == true ]] && ! kill -0 "$PPID" 2>/dev/null; then exit 0; fi
done
