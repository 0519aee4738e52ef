#!/usr/bin/env bash
# ctest's way to scripts/interop.sh gateway: DIR with our programs. 77 (skipped) where the other sides aren't installed, or where
# namespaces can't be made.
cd "$(dirname "$0")/../.." || exit 1
for program in hostapd wpa_supplicant freeradius eapol_test nft ip ping swtpm; do
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || { echo "no $program"; exit 77; }
done
as_root=(sudo -n)
[ "$(id -u)" -ne 0 ] || as_root=()
"${as_root[@]}" unshare --mount --net --pid --fork true || exit 77
exec scripts/interop.sh gateway --bin "$1"
