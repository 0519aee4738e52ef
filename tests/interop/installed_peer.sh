#!/usr/bin/env bash
# ctest's way to scripts/interop.sh: DIR with our programs. 77 (skipped) where no complete strongSwan is installed, or where
# namespaces can't be made.
cd "$(dirname "$0")/../.." || exit 1
scripts/interop.sh --find || exit 77
as_root=(sudo -n)
[ "$(id -u)" -ne 0 ] || as_root=()
"${as_root[@]}" unshare --mount --net --pid --fork true || exit 77
exec scripts/interop.sh --bin "$1"
