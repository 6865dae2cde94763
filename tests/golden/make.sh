#!/bin/sh
# Makes the golden vectors of judge and monitor anew from scipy, scikit-learn and River, in an environment of its own.
#
#     tests/golden/make.sh [directory for the environment]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/environment.sh" "${1:-}")
exec "$python" "$here/make.py"
