#!/usr/bin/env bash
# Makes the small store of the current format that tests keep for later versions (docs/formats/state.md):
#   scripts/make_state_fixture.sh [BUILD_DIRECTORY]
# Leaves tests/data/state/vN. A format that is there already is left alone: stores of users look like it.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
version=$(sed -n 's/^inline constexpr unsigned state_format = \([0-9]*\);.*/\1/p' server/state/state.h)
target=tests/data/state/v$version
[ ! -e "$target" ] || { echo "$target is there already" >&2; exit 1; }
cmake --build "$build" --target make_state_fixture
tool=$(find "$build" -type f -name make_state_fixture -perm -u+x | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$tool" "$work/state" tests/data/interop/keys
# What RocksDB makes anew when it opens a store; the log of writes (*.log) belongs to the contents.
rm -f "$work"/state/lock "$work"/state/db/LOCK "$work"/state/db/LOG* "$work"/state/db/OPTIONS-*
mkdir -p "$(dirname "$target")"
cp -r "$work/state" "$target"
chmod -R u+rwX,go+rX "$target"
du -sh "$target"
