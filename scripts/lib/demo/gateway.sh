#!/usr/bin/env bash
# The demo through a gateway, run by scripts/demo.sh inside namespaces: DIR of our programs, the product, and the prefix of
# strongSwan or "".
#
#   endpoint ── 10.81.0.0/24 ── gateway ── 10.82.0.0/24 ── protected      what the network is for
#                                      ├── 10.83.0.0/24 ── remediation    where an isolated endpoint may go
#                                      └── 10.84.0.0/24 ── pdp            gatehouse serve
#
# The gateway is nftables with two sets of addresses, and a few lines of shell that fill them by what RADIUS has answered: what
# a VPN gateway does with Filter-Id, and a switch with a VLAN. gatehouse-endpoint speaks EAP for the endpoint and RADIUS for
# the gateway, so it runs at the gateway, and the endpoint's TPM with it.
cd "$(dirname "$0")/../../.."
. scripts/lib/packages.sh
. scripts/lib/wait.sh
. scripts/lib/namespaces.sh
bin=$1 product=$2 peer=$3
work=$root/build/demo run=$root/build/demo/gateway
started=()
bound_to_outside

say "making the networks: endpoint, gateway, protected, remediation, pdp"
host endpoint gateway protected remediation pdp
wire endpoint uplink 10.81.0.2/24 gateway endpoints 10.81.0.1/24
wire protected uplink 10.82.0.2/24 gateway protected 10.82.0.1/24
wire remediation uplink 10.83.0.2/24 gateway remediation 10.83.0.1/24
wire pdp uplink 10.84.0.2/24 gateway pdp 10.84.0.1/24
for name in endpoint:10.81 protected:10.82 remediation:10.83 pdp:10.84; do
  on "${name%:*}" ip route add default via "${name#*:}.0.1"
done
on gateway bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
on gateway nft -f - <<'NFT'
table ip gateway {
  set allowed { type ipv4_addr; }
  set isolated { type ipv4_addr; }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "endpoints" oifname "protected" ip saddr @allowed accept
    iifname "endpoints" oifname "remediation" ip saddr @isolated accept
  }
}
NFT
address=10.81.0.2
# The gateway's answer to RADIUS: nothing is open but what the last one opened.
switch_to() {  # Filter-Id; empty: Access-Reject
  on gateway nft "flush set ip gateway allowed; flush set ip gateway isolated"
  case $1 in
    allow) on gateway nft "add element ip gateway allowed { $address }";;
    isolate) on gateway nft "add element ip gateway isolated { $address }";;
  esac
  # Nor does what was open before stay so.
  on gateway sh -c 'command -v conntrack >/dev/null && conntrack -F >/dev/null 2>&1 || true'
}
passes() {  # NAME ADDRESS yes|no: a packet of the endpoint's
  local got=no
  ! reaches endpoint "$2" || got=yes
  if [ $got = yes ]; then echo "   a packet to the $1 network ($2) passes"; else echo "   a packet to the $1 network ($2) doesn't pass"; fi
  [ $got = "$3" ] || fail "that is not what the verdict says"
}

at_endpoint=(nsenter "$(net gateway)")
tpm_port=2321
tcti="swtpm:host=127.0.0.1,port=$tpm_port"
. scripts/lib/demo/endpoint.sh
boot "$run/ima-clean.bin"
on gateway "$bin/gatehouse-endpoint" provision --tcti "$tcti" --handle 0x81010002 --pem "$run/ak.pem" --json >"$run/provision.json"
device=$(field "$run/provision.json" key_id)
echo "the endpoint's attestation key has key id $device"

say "making certificates and starting gatehouse serve, with RADIUS for the gateway"
make_certificates DNS:pdp.demo,DNS:pdp.example.org,IP:10.84.0.2
(umask 077; for name in gateway vpn; do openssl rand -hex 16 >"$run/tls/$name.secret"; done; openssl rand -hex 8 >"$run/tls/carol.secret")
for file in users passwords; do
  "$bin/gatehouse" user add carol --$file "$run/tls/$file.db" --password-file "$run/tls/carol.secret" >/dev/null
done
cat >"$run/policy.toml" <<'TOML'
# Made by scripts/demo.sh --gateway.
[policy]
unknown_devices = "block"              # whom nobody enrolled, or whose key isn't trusted any more
[groups.all]
ask = [{ type = "TPMRA", on_fail = "isolate", on_noresult = "block" }]
TOML
cat >"$run/gatehouse.toml" <<'TOML'
# Made by scripts/demo.sh --gateway.
[pt_tls]
listen = ["10.84.0.2:271"]
certificate = "tls/server.pem"
key = "tls/server.key"
users = "tls/users.db"
[refdb]
path = "../refdb"
[state]
path = "state"
keep_evidence = "all"
[policy]
file = "policy.toml"
[radius]
listen = ["10.84.0.2:1812"]
accounting = ["10.84.0.2:1813"]
passwords = "tls/passwords.db"
[[radius.client]]
address = "10.84.0.1"
secret_file = "tls/gateway.secret"
[[radius.client]]
address = "10.84.0.5"
secret_file = "tls/vpn.secret"
dynamic_port = 3799
[radius.reply.allow]
filter_id = "allow"
[radius.reply.isolate]
filter_id = "isolate"
TOML
nsenter "$(net pdp)" "$bin/gatehouse" serve --config "$run/gatehouse.toml" 2>"$run/server.log" &
server_pid=$!
started+=("$server_pid")
serves() { grep -q 'RADIUS listening' "$run/server.log"; }
await "$server_pid" serves || fail "gatehouse serve didn't start"
gatehouse() { "$bin/gatehouse" "$@" --config "$run/gatehouse.toml"; }

attest() {  # IMA list, verdict file, expected recommendation
  local code=0 got filter
  on gateway "$bin/gatehouse-endpoint" attest --radius 10.84.0.2:1812 --secret-file "$run/tls/gateway.secret" \
    --ca "$run/tls/ca.pem" --user carol --password-file "$run/tls/carol.secret" --tcti "$tcti" --ak 0x81010002 \
    --eventlog "$eventlog" --ima "$1" --inventory "$run/inventory" --json >"$run/radius.json" || code=$?
  [ $code -le 1 ] || fail "the endpoint couldn't attest (exit code $code)"
  filter=$(python3 -c 'import json, sys
told = json.load(open(sys.argv[1])).get("radius", [])
words = dict(line.split(" ", 1) for line in told if " " in line)
print(words.get("Filter-Id", "") if told and told[0] == "Access-Accept" else "")' "$run/radius.json")
  echo "   RADIUS: $(python3 -c 'import json, sys; print(", ".join(json.load(open(sys.argv[1]))["radius"]))' "$run/radius.json")"
  switch_to "$filter"
  gatehouse session list --last 1 --json >"$run/$2" || fail "the session isn't in the store"
  got=$(field "$run/$2" recommendation)
  echo "   verdict: $got; $(field "$run/$2" summary)"
  [ "$got" = "$3" ] || fail "expected $3, got $got (exit code $code): $run/$2"
}

say "before anything is known of it, the endpoint reaches nobody"
passes protected 10.82.0.2 no
passes remediation 10.83.0.2 no
say "enrolling the device: its key is trusted by the operator"
gatehouse device add "$device" --ak "$run/ak.pem" --product "$product" --trust
echo "-- first contact: the firmware has no approved baseline yet, so the endpoint is isolated and a baseline proposed"
attest "$run/ima-clean.bin" enrolment.json isolate
gatehouse device baseline approve "$device"

say "1. the clean endpoint is let in"
attest "$run/ima-clean.bin" verdict-1.json allow
passes protected 10.82.0.2 yes
passes remediation 10.83.0.2 no

say "2. after a reboot with $victim changed it is isolated"
boot "$run/ima-changed.bin"
attest "$run/ima-changed.bin" verdict-2.json isolate
passes protected 10.82.0.2 no
passes remediation 10.83.0.2 yes

say "3. its key revoked, it is kept out"
gatehouse device revoke "$device"
attest "$run/ima-changed.bin" verdict-3.json block
passes protected 10.82.0.2 no
passes remediation 10.83.0.2 no

judge_counts '[[1, 0], [2, 1]]'
say "why each entry that isn't ok in the last verdict is not"
explain_entries "$work/refdb" "$product" 2
verdicts="verdict-1.json verdict-2.json verdict-3.json"
if [ -n "$peer" ]; then
  . scripts/lib/interop/peer.sh
  find_vpn_peer || fail "strongSwan below $peer isn't complete"
  . scripts/lib/demo/strongswan.sh
  verdicts="$verdicts verdict-4.json verdict-5.json verdict-6.json"
fi
kill "$server_pid"
wait "$server_pid" || fail "gatehouse serve ended with exit code $?"
say "done: let in, isolated and kept out, as the verdicts say"
echo "verdicts: $run/: $verdicts"
echo "log:      $run/server.log"
