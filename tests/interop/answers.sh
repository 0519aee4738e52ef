#!/usr/bin/env bash
# scripts/interop.sh where it can't hold conversations: it says why, and its exit code is that of the contract.
cd "$(dirname "$0")/../.." || exit 1
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
expect() {  # exit code, text, arguments: the text is in what the script prints
  local wanted=$1 text=$2 said code=0
  shift 2
  said=$(scripts/interop.sh "$@" 2>&1) || code=$?
  [ "$code" -eq "$wanted" ] || { echo "interop.sh $*: exit code $code, expected $wanted: $said"; exit 1; }
  grep -qF -- "$text" <<<"$said" || { echo "interop.sh $*: doesn't say '$text': $said"; exit 1; }
}
expect 4 "pt-tls-client ($empty/bin/pt-tls-client)" --peer "$empty"
mkdir "$empty/bin" && touch "$empty/bin/pt-tls-client"
expect 4 "charon ($empty/libexec/ipsec/charon)" --peer "$empty" --find
! scripts/interop.sh --peer "$empty" 2>&1 | grep -q ' pt-tls-client ' || { echo "calls missing what is there"; exit 1; }
expect 4 "charon ($empty/libexec/ipsec/charon)" gateway --peer "$empty"
expect 4 "plug-in eap-radius" gateway --only strongswan --peer "$empty"
expect 4 "plug-in eap-tnc" gateway --find --peer "$empty"
expect 2 "strongSwan" gateway --only hostapd --peer "$empty"
expect 2 "usage" gateway --only attestation
expect 2 "usage" --only hostapd
expect 2 "usage" --peer
expect 2 "usage" --unknown
expect 2 "usage" --only nothing
expect 2 "usage" --only
expect 0 "--peer PREFIX" --help
