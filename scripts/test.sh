#!/usr/bin/env bash
# Installs what the tests need, builds with address and undefined-behaviour sanitizers and runs every test, each fuzz
# corpus and mutations of it: scripts/test.sh. What takes longer (thread sanitizer, clang, ten minutes of fuzzing a parser,
# coverage, kill loops, a million mutated conversations, 100,000 randomised attestations, an hour of mixed load for each
# sanitizer, 2 GB of a distribution taken in from its mirror, Debian packages): scripts/test.sh --long, or single parts of it:
# scripts/test.sh --long fuzz|clang|tsan|coverage|demo|mutated|randomised|soak|ingest|packages|asan...
# Ends with ctest's summary.
. "$(dirname "$0")/lib/packages.sh"
usage() { echo "usage: scripts/test.sh [--long [fuzz|clang|tsan|coverage|demo|mutated|randomised|soak|ingest|packages|asan]...]" >&2; exit 2; }
long='' parts=asan
case ${1:-} in
  --long)
    long=1 parts='fuzz clang tsan coverage demo mutated randomised soak ingest packages asan'
    shift
    for part; do case " $parts " in *" $part "*) ;; *) usage;; esac; done
    parts=${*:-$parts};;
  "") ;;
  -h|--help) sed -n '2,7s/^# //p' "$0"; exit 0;;
  *) usage;;
esac
# shellcheck disable=SC2086
install_packages $build_packages $test_packages
cd "$root"
[ -d ../shared/corpus ] || echo "note: ../shared/corpus is absent: tests on third-party files are left out"

build() {  # preset, targets...
  local preset=$1 log="build/$1.log"
  shift
  say "building preset $preset"
  mkdir -p build
  cmake --preset "$preset" >"$log" 2>&1 || { cat "$log"; exit 4; }
  cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} >"$log" 2>&1 || { grep -E "error|warning|FAILED" -A5 "$log" | head -80; exit 1; }
}
run() {  # preset, ctest options...
  local preset=$1
  shift
  say "tests of preset $preset"
  local failed=0
  # Half as many again as there are processors: servers are waited for, and deadlines.
  ctest --test-dir "build/$preset" --output-on-failure -j $((jobs + (jobs + 1) / 2)) "$@" 2>&1 | tee "build/$preset-tests.log" || failed=1
  # A program that skips some of its tests passes: they are named, and the summary comes last again.
  python3 tests/skipped.py "build/$preset"
  sed -n '/% tests passed/,$p' "build/$preset-tests.log"
  return $failed
}

# Leaks are errors; a sanitizer's report ends the test.
# Eight frames say where memory came from; thirty would be a tenth of the time.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1:malloc_context_size=8 UBSAN_OPTIONS=print_stacktrace=1
# As much history as there can be: a report that has lost a stack can be told by no name.
export TSAN_OPTIONS=suppressions=$root/tests/tsan.supp:second_deadlock_stack=1:history_size=7

part_fuzz() {
  # shellcheck disable=SC2086
  install_packages $fuzz_packages
  build fuzz harnesses
  say "fuzz corpora, 600 s for each parser"
  GATEHOUSE_FUZZ_SECONDS=600 ctest --test-dir build/fuzz --output-on-failure -j "$jobs" --timeout 900
}
part_clang() {
  # shellcheck disable=SC2086
  install_packages $fuzz_packages
  build clang all check_headers
  run clang
  say "an inventory of 1,000,000 records in bounded memory"
  GATEHOUSE_LARGE_INVENTORY=1000000 build/clang/bin/server_state_test --gtest_filter='*ALargeInventory*'
}
part_tsan() {
  build tsan
  run tsan
}
part_coverage() {
  install_packages gcovr
  build coverage
  run coverage
  gcovr --root . --exclude 'tests/|bench/|build/' --print-summary build/coverage | tail -n 5
}
part_demo() { scripts/demo.sh && scripts/demo.sh --gateway --bin build/demo-build/bin; }
part_mutated() {
  build optimized mutated_conversations
  say "1,000,000 mutated conversations"
  # Where memory came from is kept in four frames: more of them is what the run would spend its time on.
  local -x ASAN_OPTIONS=$ASAN_OPTIONS:malloc_context_size=4
  local running=() share i
  share=$((1000000 / jobs))
  for ((i = 0; i < jobs; ++i)); do
    build/optimized/bin/mutated_conversations --first=$((i * share)) --conversations=$share --progress=$((share / 10)) --hang-ms=100 &
    running+=($!)
  done
  # shellcheck disable=SC2064
  trap "kill ${running[*]} 2>/dev/null || true" EXIT
  for i in "${running[@]}"; do wait "$i"; done
  trap - EXIT
}
part_randomised() {
  build release randomised_attestations
  say "100,000 randomised attestations"
  build/release/bin/randomised_attestations --attestations=100000 --workers="$jobs"
}
part_soak() {
  # GATEHOUSE_SOAK_MINUTES: of mixed load for each sanitizer.
  local preset
  for preset in optimized tsan; do
    build "$preset" gatehouse gatehouse-fleet
    say "mixed load, ${GATEHOUSE_SOAK_MINUTES:-60} minutes, preset $preset"
    python3 tests/soak/soak.py --binaries "build/$preset/bin" --minutes "${GATEHOUSE_SOAK_MINUTES:-60}" --folder "build/soak-$preset"
  done
}
part_ingest() {
  # shellcheck disable=SC2086
  install_packages $ingest_test_packages
  build release gatehouse
  # GATEHOUSE_LONG_INGEST_MB: of packages, for a shorter one. They are kept for the next.
  say "a distribution as reference, killed 20 times"
  python3 tests/refdb_ingest/distribution.py --gatehouse build/release/bin/gatehouse --folder build/ingest
}
part_packages() {
  scripts/package.sh
  say "each package installed alone"
  local as_root=(sudo)
  [ "$(id -u)" -ne 0 ] || as_root=()
  "${as_root[@]}" env "GATEHOUSE_SOURCE=$root" python3 tests/install/package_test.py
}
part_asan() {
  [ -z "$long" ] || export GATEHOUSE_LONG=1  # 200 kills of a server instead of three
  build asan
  run asan
}
for part in $parts; do "part_$part"; done
