#!/usr/bin/env bash
# The main job, on this very machine: builds Gatehouse, takes reference hashes from the Debian packages of the installed
# files, serves, and attests an endpoint with a software TPM three times: clean, clean again, and with one file changed.
#   scripts/demo.sh [--bin DIR]            DIR: our programs, if they are built already
#   scripts/demo.sh --gateway [--peer PREFIX] [--bin DIR]
#                                          through a gateway, by RADIUS and EAP, in network namespaces: the endpoint is let in
#                                          (allow), sent to the isolation network (isolate) and kept out (block). Where
#                                          strongSwan is installed (below PREFIX, /opt/strongswan, /usr/local or /usr) the
#                                          same again with its gateway and its client, as verdicts 4, 5 and 6. Needs root,
#                                          or sudo
# Exit 0 only if every verdict is the expected one. Leaves build/demo/: verdict-1.json, verdict-2.json, verdict-3.json,
# server.log, gatehouse.toml, refdb/, state/, files.list, packages/; with --gateway the same in build/demo/gateway/, but for
# references and packages. Stops all it started, also when interrupted.
. "$(dirname "$0")/lib/packages.sh"
. "$(dirname "$0")/lib/wait.sh"
usage() { echo "usage: scripts/demo.sh [--gateway [--peer PREFIX]] [--bin DIR]" >&2; exit 2; }
gateway='' peer='' bin=''
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0;;
    --gateway) gateway=1;;
    --peer) [ $# -gt 1 ] || usage; peer=$(realpath -m "$2"); shift;;
    --bin) [ $# -gt 1 ] || usage; bin=$(realpath -m "$2"); shift;;
    *) usage;;
  esac
  shift
done
[ -z "$peer" ] || [ -n "$gateway" ] || usage
cd "$root"
if [ -n "$gateway" ]; then
  . scripts/lib/interop/peer.sh
  named=$peer
  choose_peer find_vpn_peer || { [ -z "$named" ] || exit 4; peer=''; }  # without it there are three verdicts
fi
packages="$demo_packages"
[ -n "$bin" ] || packages="$build_packages $packages"
[ -z "$gateway" ] || packages="$packages $gateway_packages"
# shellcheck disable=SC2086
install_packages $packages

work=$root/build/demo run=$root/build/demo
started=()
stop_all() {
  local pid
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  started=()
}
trap stop_all EXIT
trap 'exit 130' INT TERM HUP
fail() { echo "demo: $*" >&2; exit 1; }
[ -z "$gateway" ] || run=$work/gateway
mkdir -p "$run"
rm -f "$run"/*.json "$run"/*.log "$run"/*.bin "$run"/*.pid
if [ -n "$gateway" ]; then
  . scripts/lib/namespaces.sh
  scratch=$(mktemp -d)
  trap 'leave_namespaces; rm -rf "$scratch"' EXIT
  # Before the longest step.
  in_namespaces "$scratch" true || { echo "demo: --gateway makes networks of its own, for which it needs root" >&2; exit 4; }
  . scripts/lib/demo/prepare.sh
  in_namespaces "$scratch" scripts/lib/demo/gateway.sh "$bin" "$product" "$peer" || exit
  exit
fi

. scripts/lib/demo/prepare.sh
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
tpm_port=$(python3 -c 'import socket
while True:
    a, b = socket.socket(), socket.socket()
    a.bind(("127.0.0.1", 0))
    try:
        b.bind(("127.0.0.1", a.getsockname()[1] + 1))
    except OSError:
        continue
    print(a.getsockname()[1])
    break')
tcti="swtpm:host=127.0.0.1,port=$tpm_port"
at_endpoint=()
. scripts/lib/demo/endpoint.sh
boot "$run/ima-clean.bin"
"$bin/gatehouse-endpoint" provision --tcti "$tcti" --handle 0x81010002 --pem "$run/ak.pem" --json >"$run/provision.json"
device=$(field "$run/provision.json" key_id)
echo "the endpoint's attestation key has key id $device"

say "making certificates and starting gatehouse serve"
make_certificates DNS:localhost,IP:127.0.0.1
port=$(free_port)
cat >"$run/gatehouse.toml" <<TOML
# Made by scripts/demo.sh.
[pt_tls]
listen = ["127.0.0.1:$port"]
certificate = "tls/server.pem"
key = "tls/server.key"
client_ca = "tls/ca.pem"
[refdb]
path = "refdb"
[state]
path = "state"
keep_evidence = "all"
TOML
"$bin/gatehouse" serve --config "$run/gatehouse.toml" 2>"$run/server.log" &
server_pid=$!
started+=("$server_pid")
await "$server_pid" listening "$port" || fail "gatehouse serve didn't start"

gatehouse() { "$bin/gatehouse" "$@" --config "$run/gatehouse.toml"; }
attest() {  # IMA list, verdict file, expected recommendation
  local code=0 got
  "$bin/gatehouse-endpoint" attest --server "127.0.0.1:$port" --ca "$run/tls/ca.pem" \
    --certificate "$run/tls/endpoint.pem" --key "$run/tls/endpoint.key" \
    --tcti "$tcti" --ak 0x81010002 --eventlog "$eventlog" --ima "$1" --inventory "$run/inventory" || code=$?
  [ $code -le 1 ] || fail "the endpoint couldn't attest (exit code $code)"
  gatehouse session list --last 1 --json >"$run/$2" || fail "the session isn't in the store"
  got=$(field "$run/$2" recommendation)
  echo "   verdict: $got; $(field "$run/$2" summary)"
  case $3 in
    allow) [ "$got" = allow ] && [ $code -eq 0 ] || fail "expected allow, got $got (exit code $code): $run/$2";;
    *) [ "$got" != allow ] && [ $code -eq 1 ] || fail "expected a refusal, got $got (exit code $code): $run/$2";;
  esac
}

say "enrolling the device: its key is trusted by the operator"
gatehouse device add "$device" --ak "$run/ak.pem" --product "$product" --trust
echo "-- first contact: the firmware has no approved baseline yet, so the endpoint is isolated and a baseline proposed"
attest "$run/ima-clean.bin" enrolment.json isolate
gatehouse device baseline list "$device"
gatehouse device baseline approve "$device"

say "1. the clean endpoint"
attest "$run/ima-clean.bin" verdict-1.json allow
say "2. the same endpoint again"
attest "$run/ima-clean.bin" verdict-2.json allow
say "3. the endpoint after a reboot, with $victim changed after the reference was taken"
boot "$run/ima-changed.bin"
attest "$run/ima-changed.bin" verdict-3.json refuse
judge_counts '[[1, 0], [2, 0], [3, 1]]'
say "why each entry that isn't ok in the last verdict is not"
explain_entries "$work/refdb" "$product" 3
kill "$server_pid"
wait "$server_pid" || fail "gatehouse serve ended with exit code $?"

say "done: the clean endpoint was allowed twice, the changed one refused"
echo "verdicts: $run/verdict-1.json verdict-2.json verdict-3.json"
echo "log:      $run/server.log"
echo "stores:   $work/refdb $run/state (gatehouse session list --state $run/state)"
