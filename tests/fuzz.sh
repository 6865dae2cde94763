#!/usr/bin/env bash
# Runs libFuzzer on every target of fuzz/, one after another, from the kept corpus on.
#
#   tests/fuzz.sh SECONDS [TARGET...]    so many seconds each; default: 60, all targets
#
# It needs a nightly compiler (`rustup toolchain install nightly`) and nothing else: what `cargo fuzz` passes to the compiler is
# passed here. What is found stays in target/fuzz/found/TARGET; put the smallest into fuzz/corpus/TARGET once it is mended.
# A first build of the targets that read as the plugin does takes ten minutes on two cores; FEATURES= leaves these out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true
features=${FEATURES-agent,cli}
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
flags=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  # Without optimisation of the whole program, but with the checks of a debug build.
  -Cdebug-assertions
)
RUSTFLAGS="${flags[*]}" cargo +nightly build --manifest-path fuzz/Cargo.toml --locked --release --bins \
  --features "$features" --target "$target" --target-dir target/fuzz
programs=target/fuzz/$target/release

names=("$@")
if ((${#names[@]} == 0)); then
  for source in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$source" .rs)
    [[ -x $programs/$name ]] && names+=("$name")
  done
fi

failed=()
for name in "${names[@]}"; do
  mkdir -p "target/fuzz/grown/$name" "target/fuzz/found/$name"
  log=target/fuzz/$name.log
  echo "$name: $seconds s"
  "$programs/$name" "target/fuzz/grown/$name" "fuzz/corpus/$name" -artifact_prefix="target/fuzz/found/$name/" \
    -max_total_time="$seconds" -timeout=30 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 >"$log" 2>&1 \
    || failed+=("$name")
  grep -E "stat::number_of_executed_units|SUMMARY|panicked" "$log" | sed 's/^/  /' || true
done
if ((${#failed[@]} > 0)); then
  echo "fuzz.sh: ${failed[*]} failed; see target/fuzz/TARGET.log and target/fuzz/found" >&2
  exit 1
fi
