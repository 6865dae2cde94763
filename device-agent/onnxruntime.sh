#!/usr/bin/env bash
# Prints the path of ONNX Runtime's shared library, bringing it from PyPI's wheel where it is missing.
#
#   MODELFLEET_ONNXRUNTIME   a library that is there already: printed as it is
#   MODELFLEET_CACHE         where to keep it (otherwise $XDG_CACHE_HOME/modelfleet or ~/.cache/modelfleet)
set -euo pipefail

version=1.31.1
# The wheels that the library is taken out of, by processor; they are taken whatever Python runs here.
python=3.13
sha256_x86_64=74a6a52994616c4d18b33db1e13c226333a70a6ba07480a5cab9c2a50dff1430
sha256_aarch64=dcaedc50333876f3829ab966b242147f0e548229e29c36fe44622ecf748c25ee

if [[ -n ${MODELFLEET_ONNXRUNTIME:-} ]]; then
    if [[ ! -r $MODELFLEET_ONNXRUNTIME ]]; then
        echo "MODELFLEET_ONNXRUNTIME: $MODELFLEET_ONNXRUNTIME cannot be read" >&2
        exit 1
    fi
    printf '%s\n' "$MODELFLEET_ONNXRUNTIME"
    exit
fi

cache=${MODELFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelfleet}/onnxruntime
library=$cache/$version/libonnxruntime.so

if [[ ! -e $library ]]; then
    for tool in python3 flock; do
        if ! command -v "$tool" >/dev/null; then
            echo "ONNX Runtime is missing and $tool is not there to bring it." \
                "Install python3 with pip (and util-linux), or set MODELFLEET_ONNXRUNTIME to the library." >&2
            exit 1
        fi
    done
    if ! python3 -m pip --version >/dev/null 2>&1; then
        echo "ONNX Runtime is missing and pip is not there to bring it." \
            "Install pip (on Debian: apt-get install python3-pip)," \
            "or set MODELFLEET_ONNXRUNTIME to the library." >&2
        exit 1
    fi
    machine=$(uname -m)
    sha256=sha256_$machine
    sha256=${!sha256:-}
    if [[ -z $sha256 ]]; then
        echo "There is no known ONNX Runtime $version for $machine. Set MODELFLEET_ONNXRUNTIME to a library." >&2
        exit 1
    fi
    mkdir -p "$cache"
    # One at a time; who comes second finds it there.
    exec 9>"$cache/lock"
    flock 9
    if [[ ! -e $library ]]; then
        fresh=$(mktemp -d "$cache/new.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        printf 'onnxruntime==%s --hash=sha256:%s\n' "$version" "$sha256" >"$fresh/wheel.txt"
        # What has another hash is not taken, whoever sent it.
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
            --python-version "$python" --implementation cp --abi "cp${python/./}" \
            --platform "manylinux_2_28_$machine" --dest "$fresh" --requirement "$fresh/wheel.txt" >&2
        rm "$fresh/wheel.txt"
        python3 - "$fresh" "$version" <<'PYTHON'
import pathlib, sys, zipfile

folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    name = f"onnxruntime/capi/libonnxruntime.so.{version}"
    (folder / "libonnxruntime.so").write_bytes(archive.read(name))
wheel.unlink()
PYTHON
        chmod 755 "$fresh" "$fresh/libonnxruntime.so"
        # A folder that an interrupted start has left without the library.
        rm -rf "${cache:?}/$version"
        mv "$fresh" "$cache/$version"
        trap - EXIT
    fi
fi
printf '%s\n' "$library"
