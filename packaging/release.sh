#!/usr/bin/env bash
# Makes everything that a release ships, in one folder, with checksums and a signature.
#
#   packaging/release.sh --key minisign.key --out DIR [--bin-dir DIR] [--helm HELM]
#
# Without --bin-dir the programs are built with the profile `small`, which takes some minutes. The key is a minisign key without a
# password, as `kubectl modelfleet keygen --no-password` makes it; it signs SHA256SUMS, which names every other file. Users check it:
#
#   minisign -Vm SHA256SUMS -p minisign.pub && sha256sum --check SHA256SUMS
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

key='' out='' bin='' helm=''
while (($#)); do
  case $1 in
    --key) key=$2 ;;
    --out) out=$2 ;;
    --bin-dir) bin=$2 ;;
    --helm) helm=$2 ;;
    *) echo "release.sh: unknown argument $1" >&2; exit 1 ;;
  esac
  shift 2
done
[[ -n $key && -n $out ]] || { echo "release.sh: --key and --out are required" >&2; exit 1; }
[[ ! -e $out ]] || { echo "release.sh: $out is there already" >&2; exit 1; }
for tool in minisign python3 tar gzip sha256sum; do
  command -v $tool >/dev/null || { echo "release.sh: $tool is missing" >&2; exit 1; }
done

number=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
version=v$number
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
platform=linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
programs=(modelfleet-controller modelfleet-agent kubectl-modelfleet)

if [[ -z $bin ]]; then
  # The folders of this machine are no part of a program: two machines build the same bytes.
  export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$root=/modelfleet --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  (cd "$root" && cargo build --locked --profile small --bins -p modelfleet-controller -p modelfleet-agent -p modelfleet-cli)
  bin=${CARGO_TARGET_DIR:-$root/target}/small
fi
[[ -n $helm ]] || helm=$("$root/tests/packages/tools.sh" helm)

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/packaging/sbom.py" "$work/sbom" >/dev/null

# An archive whose bytes depend on nothing but its files.
archive() { # folder
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar --directory "$1" .
}
pack() { archive "$2" | gzip --no-name >"$out/$1"; } # name of the archive, folder

for program in "${programs[@]}"; do
  folder=$work/$program
  mkdir "$folder"
  install -m 755 "$bin/$program" "$folder/$program"
  if command -v strip >/dev/null; then strip --strip-all "$folder/$program"; fi
  install -m 644 "$root/LICENSE" "$folder/LICENSE"
  install -m 644 "$work/sbom/$program.cdx.json" "$out/$program-$version.cdx.json"
  [[ $program != modelfleet-agent ]] || install -m 644 "$root"/packaging/agent/* "$folder/"
  pack "$program-$version-$platform.tar.gz" "$folder"
  "$root/packaging/image.py" "$folder/$program" "$work/image-$program" --sbom "$work/sbom/$program.cdx.json" --tag "$number" \
    >"$out/$program-$version-$platform.image-digest"
  # Its layers are compressed.
  archive "$work/image-$program" >"$out/$program-$version-$platform.oci.tar"
done

"$helm" package "$root/packaging/helm/modelfleet" --version "$number" --app-version "$number" --destination "$work/chart" >/dev/null 2>&1
# Helm writes the time of packing into the archive.
mkdir "$work/chart/plain"
tar --extract --gzip --file "$work/chart/modelfleet-$number.tgz" --directory "$work/chart/plain"
pack "modelfleet-chart-$number.tgz" "$work/chart/plain"

sum=$(sha256sum "$out/kubectl-modelfleet-$version-$platform.tar.gz" | cut -d' ' -f1)
sed "/^#/d; s/VERSION/$version/g; s/SHA256-$platform/$sum/" "$root/packaging/krew/modelfleet.yaml" >"$out/modelfleet.yaml"
if grep -q SHA256- "$out/modelfleet.yaml"; then
  echo "release.sh: the krew manifest names a platform that was not built" >&2
  exit 1
fi

(cd "$out" && sha256sum -- * >SHA256SUMS)
minisign -S -s "$key" -m "$out/SHA256SUMS" -t "modelfleet release version=$number" -x "$out/SHA256SUMS.minisig" </dev/null >/dev/null
echo "release $version in $out"
