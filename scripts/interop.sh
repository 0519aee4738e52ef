#!/usr/bin/env bash
# Conversations with an installed strongSwan, held live on loopback with a software TPM, and each judged by both sides:
# its pt-tls-client (all its collectors) by gatehouse serve, and gatehouse-endpoint by its policy decision point.
#   scripts/interop.sh [--peer PREFIX] [--bin DIR]  PREFIX: strongSwan's (default: /opt/strongswan, /usr/local or /usr)
#                                                   DIR: our programs' (default: build/release/bin, built when absent)
#   scripts/interop.sh --only attestation|scenarios …   one half: attestations by every kind of client and key, or the
#                                                   peer's own acceptance scenarios over PT-TLS
#   scripts/interop.sh --find [--peer PREFIX]       only says what is there and what is missing
#   scripts/interop.sh gateway [--only hostapd|freeradius|balancer|strongswan] [--peer PREFIX] [--find] [--bin DIR]
#                                                   through gateways, by the recipes of docs/gateways.md: Debian's hostapd and
#                                                   FreeRADIUS, a load balancer, and strongSwan, which is left out where it
#                                                   isn't installed and nobody asked for it
# Prints one PASS or FAIL line a conversation. Exit code 0: all passed; 1: one failed; 4: no complete strongSwan, or the
# machine lacks something. Needs root (namespaces of its own: nothing listens outside, nothing stays behind). Leaves
# build/interop/ (gateway: build/interop-gateway/) with the logs; keys and stores are gone when it ends.
. "$(dirname "$0")/lib/packages.sh"
usage() { echo "usage: scripts/interop.sh [gateway] [--find] [--only PART] [--peer PREFIX] [--bin DIR]" >&2; exit 2; }
peer='' bin='' find='' gateway='' only=''
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 0;;
    gateway) gateway=1;;
    --find) find=1;;
    --only) [ $# -gt 1 ] || usage; only=$2; shift;;
    --peer) [ $# -gt 1 ] || usage; peer=$(realpath -m "$2"); shift;;
    --bin) [ $# -gt 1 ] || usage; bin=$(realpath -m "$2"); shift;;
    *) usage;;
  esac
  shift
done
parts=(attestation scenarios)
[ -z "$gateway" ] || parts=(hostapd freeradius balancer strongswan)
if [ -n "$only" ]; then
  case " ${parts[*]} " in *" $only "*) parts=("$only");; *) usage;; esac
fi

find_programs() {  # in $bin, or built where it isn't said
  local program
  if [ -z "$bin" ]; then
    bin=$root/build/release/bin
    for program in gatehouse gatehouse-endpoint gatehouse-tpm-extend; do
      [ -x "$bin/$program" ] || { scripts/build.sh release; break; }
    done
  fi
  for program in gatehouse gatehouse-endpoint gatehouse-tpm-extend; do
    [ -x "$bin/$program" ] || { echo "interop: $bin/$program is missing" >&2; exit 4; }
  done
}
. "$(dirname "$0")/lib/interop/peer.sh"
[ -z "$gateway" ] || . "$root/scripts/lib/gateway/interop.sh"  # which ends here
choose_peer find_peer || exit 4
[ -z "$find" ] || { echo "strongSwan below $peer is complete: $client, $charon"; exit 0; }

cd "$root"
if [ -z "${GATEHOUSE_INTEROP_WORK:-}" ]; then
  # --- outside: packages, programs, and namespaces in which everything runs and with which everything ends -----------
  install_packages python3 openssl swtpm libtss2-tcti-swtpm0 net-tools util-linux
  find_programs
  mkdir -p build/interop
  work=$(mktemp -d)
  as_root=(sudo)
  [ "$(id -u)" -ne 0 ] || as_root=()
  only=()
  [ ${#parts[@]} -ne 1 ] || only=(--only "${parts[0]}")
  namespaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)
  mkfifo "$work/lifeline"
  exec 7<>"$work/lifeline"
  pid=''
  clean_up() {
    trap - EXIT
    exec 7>&-  # which ends everything inside
    [ -z "$pid" ] || wait "$pid" || true
    "${as_root[@]}" rm -rf "$work"
  }
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  "${as_root[@]}" "${namespaces[@]}" true ||
    { echo "interop: needs root, and a kernel that grants mount, network and process namespaces" >&2; exit 4; }
  "${as_root[@]}" env "GATEHOUSE_INTEROP_WORK=$work" "${namespaces[@]}" \
    "$root/scripts/interop.sh" --peer "$peer" --bin "$bin" "${only[@]}" 7>&- &
  pid=$!
  code=0
  wait "$pid" || code=$?
  pid=''
  exit "$code"
fi

# --- inside: loopback is ours alone, so ports are fixed -------------------------------------------------------------
for part in world client server; do . "$root/scripts/lib/interop/$part.sh"; done
for part in "${parts[@]}"; do
  . "$root/scripts/lib/interop/${part}_client.sh"
  . "$root/scripts/lib/interop/${part}_server.sh"
done
echo "$passed passed, $failed failed; logs: $logs"
[ $failed -eq 0 ]
