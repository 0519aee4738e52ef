# Sourced by scripts that hold conversations with strongSwan: finds it below $peer, every part by name, so that what is missing
# can be said.
# shellcheck shell=bash disable=SC2034,SC2154
missing=()
need() {  # VARIABLE, name, path patterns below the prefix: the first file that is there, else it is missing
  local -n slot=$1
  local name=$2 pattern path
  shift 2
  for pattern in "$@"; do
    for path in "$peer"/$pattern; do
      [ ! -e "$path" ] || { slot=$path; return 0; }
    done
  done
  missing+=("$name ($peer/$1)")
}
need_library() { need "$1" "$2" "lib/ipsec/$3" "lib/*/ipsec/$3"; }
find_peer() {
  local collector validator plugin found
  missing=() client='' charon=''
  need client pt-tls-client bin/pt-tls-client sbin/pt-tls-client libexec/ipsec/pt-tls-client lib/ipsec/pt-tls-client
  need charon charon libexec/ipsec/charon lib/ipsec/charon
  need swanctl swanctl sbin/swanctl bin/swanctl
  need policy_manager imv_policy_manager libexec/ipsec/imv_policy_manager lib/ipsec/imv_policy_manager
  need schema 'the policy database schema' share/strongswan/templates/database/imv/tables.sql
  need sw_collector sw-collector sbin/sw-collector bin/sw-collector
  need collector_schema "sw-collector's database schema" \
    share/strongswan/templates/database/sw-collector/sw_collector_tables.sql
  for collector in os swima attestation scanner test; do
    need_library "imc_$collector" "imc-$collector" "imcvs/imc-$collector.so"
  done
  for validator in os swima attestation scanner test; do
    need_library "imv_$validator" "imv-$validator" "imcvs/imv-$validator.so"
  done
  for plugin in tnccs-20 tnc-tnccs tnc-imc tnc-imv tnc-pdp openssl sqlite vici; do
    need_library found "plug-in $plugin" "plugins/libstrongswan-$plugin.so"
  done
  [ ${#missing[@]} -eq 0 ]
}
# What a VPN takes, a gateway and an endpoint with its collectors. Debian's packages have no TNC, so they aren't enough.
find_vpn_peer() {
  local plugin found collector
  missing=() client='' charon=''
  need charon charon libexec/ipsec/charon lib/ipsec/charon
  need swanctl swanctl sbin/swanctl bin/swanctl
  for collector in os attestation; do
    need_library "imc_$collector" "imc-$collector" "imcvs/imc-$collector.so"
  done
  for plugin in eap-radius eap-identity eap-md5 eap-ttls eap-tnc tnccs-20 tnc-tnccs tnc-imc tpm openssl vici kernel-netlink socket-default; do
    need_library found "plug-in $plugin" "plugins/libstrongswan-$plugin.so"
  done
  [ ${#missing[@]} -eq 0 ]
}
# choose_peer FINDER: below $peer, or where it is usually installed when that is empty. Says what is missing.
choose_peer() {
  local candidates=(/opt/strongswan /usr/local /usr)
  [ -z "$peer" ] || candidates=("$peer")
  for peer in "${candidates[@]}"; do
    ! "$1" || return 0
    [ -z "$client$charon" ] || break  # this is the one, but incomplete
  done
  if [ -n "$client$charon" ] || [ ${#candidates[@]} -eq 1 ]; then
    echo "${0##*/}: strongSwan below $peer lacks:" >&2
    printf '  %s\n' "${missing[@]}" >&2
  else
    echo "${0##*/}: no strongSwan with TNC below ${candidates[*]}; name its prefix with --peer" >&2
  fi
  return 1
}
