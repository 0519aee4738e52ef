#!/usr/bin/env bash
# Installs the build dependencies and builds: scripts/build.sh [PRESET]  (default: release; see CMakePresets.json).
# The programs are then in build/PRESET/bin/.
. "$(dirname "$0")/lib/packages.sh"
preset=${1:-release}
case $preset in -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0;; esac
# shellcheck disable=SC2086
install_packages $build_packages $bench_packages
case $preset in
  release|demo) ;;
  fuzz|clang) install_packages $test_packages $fuzz_packages;;
  *) install_packages $test_packages;;
esac
cd "$root"
say "building preset $preset"
cmake --preset "$preset" >build-configure.log 2>&1 || { cat build-configure.log; rm -f build-configure.log; exit 4; }
rm -f build-configure.log
cmake --build --preset "$preset" -- -j "$jobs"
ls "build/$preset/bin"
