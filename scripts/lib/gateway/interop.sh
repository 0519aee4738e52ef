# Sourced by scripts/interop.sh gateway: packages, programs, and then conversations in namespaces. Ends.
# shellcheck shell=bash disable=SC2034,SC2154
. "$root/scripts/lib/namespaces.sh"
[ -z "$peer$find" ] || { echo "interop: --peer and --find are of conversations with strongSwan, which aren't among these" >&2; exit 2; }
cd "$root"
absent() { for program in "$@"; do command -v "$program" >/dev/null || return 0; done; return 1; }
absent hostapd wpa_supplicant freeradius eapol_test nft ip ping swtpm openssl python3 &&
  # shellcheck disable=SC2086
  install_without_starting $interop_gateway_packages
for program in hostapd hostapd_cli wpa_supplicant freeradius eapol_test nft ip ping swtpm; do
  command -v "$program" >/dev/null || { echo "interop: $program isn't installed" >&2; exit 4; }
done
find_programs
scratch=$(mktemp -d)
as_root=(sudo)
[ "$(id -u)" -ne 0 ] || as_root=()
trap 'leave_namespaces; "${as_root[@]}" rm -rf "$scratch"' EXIT  # inside it, root made files
trap 'exit 130' INT TERM HUP
code=0
in_namespaces "$scratch" "$root/scripts/lib/gateway/run.sh" "$scratch" "$bin" "${parts[@]}" || code=$?
exit $code
