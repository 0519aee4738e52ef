# Sourced by scripts/interop.sh gateway: packages, programs, and then conversations in namespaces. Ends.
# shellcheck shell=bash disable=SC2034,SC2154
. "$root/scripts/lib/namespaces.sh"
cd "$root"
# strongSwan isn't installed by us: without it that part is left out, unless it is what was asked for.
asked=$only$peer$find
if [[ " ${parts[*]} " = *' strongswan '* ]]; then
  if choose_peer find_vpn_peer; then
    [ -z "$find" ] || { echo "strongSwan below $peer is complete: $charon"; exit 0; }
  else
    [ -z "$asked" ] || exit 4
    echo "SKIP  strongSwan as gateway and endpoint"
    parts=("${parts[@]/strongswan/}")
  fi
elif [ -n "$peer$find" ]; then
  echo "interop: --peer and --find are of strongSwan, which has no part in $only" >&2
  exit 2
fi
programs=(nft ip ping swtpm openssl python3) packages=$interop_gateway_packages
for part in ${parts[*]}; do
  case $part in
    hostapd) programs+=(hostapd hostapd_cli wpa_supplicant) packages+=" hostapd wpasupplicant";;
    freeradius) programs+=(freeradius eapol_test) packages+=" freeradius eapoltest";;
  esac
done
absent() { for program in "$@"; do command -v "$program" >/dev/null || return 0; done; return 1; }
absent "${programs[@]}" &&
  # shellcheck disable=SC2086
  install_without_starting $packages
for program in "${programs[@]}"; do
  command -v "$program" >/dev/null || { echo "interop: $program isn't installed" >&2; exit 4; }
done
find_programs
scratch=$(mktemp -d)
as_root=(sudo)
[ "$(id -u)" -ne 0 ] || as_root=()
trap 'leave_namespaces; "${as_root[@]}" rm -rf "$scratch"' EXIT  # inside it, root made files
trap 'exit 130' INT TERM HUP
code=0
# shellcheck disable=SC2068
in_namespaces "$scratch" "$root/scripts/lib/gateway/run.sh" "$scratch" "$bin" "$peer" ${parts[@]} || code=$?
exit $code
