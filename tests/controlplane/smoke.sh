#!/usr/bin/env bash
# Checks that the control plane does what the other tests rely on. Needs kubectl.
# Leaves nothing running and no files; exits nonzero on the first failure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tmp=$(mktemp -d)
dir=$tmp/cp
pid=

cleanup() {
  local rc=$?
  if [[ -n $pid ]]; then kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; fi
  if ((rc != 0)); then
    echo "FAILED (exit $rc)" >&2
    cat "$tmp/err" >&2 2>/dev/null || true
    tail -n 20 "$dir/log" >&2 2>/dev/null || true
  fi
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() { echo "smoke: $*" >&2; exit 1; }
ok() { echo "ok  $*"; }
# The discovery cache of kubectl is keyed by address, so keep it out of $HOME.
k() { kubectl --kubeconfig "$dir/kubeconfig" --cache-dir "$tmp/cache" "$@" 2> >(grep -v 'version difference' >&2); }
# refused TEXT COMMAND...: the command must fail, and say TEXT.
refused() {
  local text=$1 out
  shift
  if out=$("$@" 2>&1); then fail "not refused: $*"; fi
  [[ $out == *"$text"* ]] || fail "wrong refusal of $*: $out"
}
eventually() {
  local i
  for ((i = 0; i < 100; i++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  fail "did not happen in 20 s: $*"
}
start() {
  # Here and not only by the redirection below, which may come after the first look.
  : >"$tmp/out"
  "$here/run.sh" --dir "$dir" --exit-with-parent >"$tmp/out" 2>"$tmp/err" &
  pid=$!
  local since=$SECONDS
  until grep -qxF "ready kubeconfig=$dir/kubeconfig" "$tmp/out"; do
    kill -0 "$pid" 2>/dev/null || fail "did not start"
    sleep 0.05
  done
  ok "started ($((SECONDS - since)) s)"
}
stop() {
  local rc=0
  kill -TERM "$pid"
  wait "$pid" || rc=$?
  pid=
  ((rc == 0)) || fail "stopped with exit code $rc"
  ok "stopped"
}
widget() { # name, size
  printf '{"apiVersion":"smoke.modelfleet.io/v1","kind":"Widget","metadata":{"name":"%s","namespace":"smoke"},"spec":{"size":%s}}' "$1" "$2"
}
apply_widget() { widget "$1" "$2" | k apply --server-side --field-manager="${3:-smoke}" -f -; }

# Build before the clock runs.
[[ -n ${KUBEBUILDER_ASSETS:-} ]] || "$here/assets.sh" >/dev/null
start

k create namespace smoke >/dev/null
k apply --server-side -f - >/dev/null <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.smoke.modelfleet.io}
spec:
  group: smoke.modelfleet.io
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        description: A thing to test with.
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, description: How big it is.}
            x-kubernetes-validations:
            - {rule: self.size % 2 == 0, message: size must be even}
            - {rule: self.size >= oldSelf.size, message: size must not shrink}
          status:
            type: object
            properties:
              phase: {type: string}
YAML
k wait --for=condition=Established crd/widgets.smoke.modelfleet.io --timeout=20s >/dev/null
eventually apply_widget first 2
ok "CRD"

refused "size must be even" apply_widget odd 3
apply_widget first 4 >/dev/null
refused "size must not shrink" apply_widget first 2
ok "CEL rules"

refused "conflict" apply_widget first 6 other
[[ $(k get widget first -n smoke --show-managed-fields -o jsonpath='{.metadata.managedFields[0].manager}') == smoke ]] ||
  fail "no field manager"
ok "server-side apply, with conflicts"

k patch widget first -n smoke --subresource=status --type=merge -p '{"status":{"phase":"Ready"},"spec":{"size":100}}' >/dev/null
[[ $(k get widget first -n smoke -o jsonpath='{.spec.size} {.status.phase}') == "4 Ready" ]] || fail "status subresource"
k patch widget first -n smoke --type=merge -p '{"status":{"phase":"Wrong"}}' >/dev/null
[[ $(k get widget first -n smoke -o jsonpath='{.status.phase}') == Ready ]] || fail "status was changed through the main resource"
ok "status subresource"

eventually k explain widget.spec.size
[[ $(k explain widget.spec.size) == *"How big it is."* ]] || fail "explain"
ok "explain"

k create serviceaccount bob -n smoke >/dev/null
# A kubeconfig of its own: a token beside the admin certificate would not count.
cp "$dir/kubeconfig" "$tmp/bob"
as_bob() { kubectl --kubeconfig "$tmp/bob" --cache-dir "$tmp/cache" "$@"; }
as_bob config set-credentials bob --token="$(k create token bob -n smoke)" >/dev/null
as_bob config set-context bob --cluster=modelfleet --user=bob >/dev/null
as_bob config use-context bob >/dev/null
as_bob config delete-user admin >/dev/null
refused 'User "system:serviceaccount:smoke:bob" cannot list resource' as_bob get widgets -n smoke
k create role reader -n smoke --verb=get,list --resource=widgets.smoke.modelfleet.io >/dev/null
k create rolebinding bob -n smoke --role=reader --serviceaccount=smoke:bob >/dev/null
eventually as_bob get widgets -n smoke
refused "cannot delete resource" as_bob delete widget first -n smoke
ok "token request and RBAC"

k apply -f - >/dev/null <<'YAML'
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: leader, namespace: smoke}
spec: {holderIdentity: me, leaseDurationSeconds: 15}
---
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: something, namespace: smoke}
eventTime: "2026-01-01T00:00:00.000000Z"
type: Normal
reason: Testing
action: Test
note: something happened
reportingController: smoke.modelfleet.io/smoke
reportingInstance: smoke-0
regarding: {apiVersion: smoke.modelfleet.io/v1, kind: Widget, name: first, namespace: smoke}
YAML
[[ $(k get lease leader -n smoke -o jsonpath='{.spec.holderIdentity}') == me ]] || fail "lease"
[[ $(k get events -n smoke) == *"something happened"* ]] || fail "event"
ok "Lease and Event"

# The pair from KUBEBUILDER_ASSETS comes without controllers.
if [[ -z ${KUBEBUILDER_ASSETS:-} ]]; then
  k create configmap child -n smoke >/dev/null
  widget parent 2 | k apply -f - >/dev/null
  owner=$(k get widget parent -n smoke -o jsonpath='{.metadata.uid}')
  k patch configmap child -n smoke --type=merge -p "{\"metadata\":{\"ownerReferences\":[{
    \"apiVersion\":\"smoke.modelfleet.io/v1\",\"kind\":\"Widget\",\"name\":\"parent\",\"uid\":\"$owner\"}]}}" >/dev/null
  k delete widget parent -n smoke >/dev/null
  k wait --for=delete configmap/child -n smoke --timeout=30s >/dev/null
  ok "garbage collection by owner reference"
  k create namespace gone >/dev/null
  k create configmap content -n gone >/dev/null
  k delete namespace gone --timeout=30s >/dev/null
  ok "namespace deletion"
fi

before=$(cat "$dir/port")
stop
start
[[ $(cat "$dir/port") == "$before" ]] || fail "another port after the restart"
[[ $(k get widget first -n smoke -o jsonpath='{.spec.size} {.status.phase}') == "4 Ready" ]] || fail "the object is gone"
as_bob get widgets -n smoke >/dev/null || fail "the token of before is refused"
ok "same data, port and tokens after the restart"

# A second one on the same directory must be refused and must not disturb the first.
refused "in use" "$here/run.sh" --dir "$dir"
k get --raw /readyz >/dev/null
ok "one control plane per directory"
stop
echo "all good"
