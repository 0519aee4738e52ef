# Sourced by scripts/lib/gateway/run.sh: strongSwan as a VPN gateway, and strongSwan as an endpoint with its collectors.
#
#   endpoint (10.81.0.2) ─┬─ 10.81.0.1 [gateway] ─┬─ protected (10.82.0.2)
#   second (10.81.0.3) ───┘                       ├─ remediation (10.83.0.2)
#                                                 └─ 10.84.0.5 ── 10.84.0.2 (pdp)
# shellcheck shell=bash disable=SC2034,SC2154
. "$root/scripts/lib/interop/peer.sh"
. "$root/scripts/lib/gateway/vpn.sh"
find_vpn_peer || environment "strongSwan isn't complete: ${missing[*]}"
host endpoint second gateway protected remediation pdp
on gateway ip link add name endpoints type bridge
on gateway ip address add 10.81.0.1/24 dev endpoints
on gateway ip link set endpoints up
wire endpoint uplink 10.81.0.2/24 gateway one ''
wire second uplink 10.81.0.3/24 gateway two ''
for name in one two; do on gateway ip link set "$name" master endpoints; done
wire protected uplink 10.82.0.2/24 gateway protected 10.82.0.1/24
wire remediation uplink 10.83.0.2/24 gateway remediation 10.83.0.1/24
wire pdp uplink 10.84.0.2/24 gateway pdp 10.84.0.5/24
for name in endpoint:10.81.0.1 second:10.81.0.1 protected:10.82.0.1 remediation:10.83.0.1; do
  on "${name%:*}" ip route add default via "${name#*:}"
done
on gateway bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
on gateway nft -f "$recipes/strongswan-gateway/forward.nft"
choose_esp endpoint || environment "neither the kernel nor strongSwan below $peer has ESP"
vpn=$work/vpn vpn_secret=$(cat "$work/vpn.secret") vpn_password=$password
(umask 077; mkdir "$vpn"; configure_charon gateway gateway; configure_charon endpoint endpoint)
cp "$work/tls/vpn.pem" "$vpn/gateway/x509/"
cp "$work/tls/vpn.key" "$vpn/gateway/private/"
cp "$work/tls/ca.pem" "$vpn/endpoint/x509ca/"
cp "$work/tls/ca.pem" "$vpn/gateway/x509ca/"

tpm_host=endpoint
endpoint_boots() {  # evidence folder: with everything that runs on it
  stop_charon endpoint
  boot "$1"
  kernel_tells endpoint "$eventlog" "$list"
  start_charon endpoint endpoint || environment "the endpoint's charon: $logs/charon-endpoint.log"
}
boot base
provision
with_test_imv=$'[imv]\ntest = true'
serve pdp vpn 10.84.0.2 "$with_test_imv"
start_charon gateway gateway || environment "the gateway's charon: $logs/charon-gateway.log"
endpoint_boots base
gatehouse_of vpn device add "$device" --ak "$work/ak.pem" --product "$product" --trust \
  --identity carol --identity 'CN=endpoint,O=Gatehouse interop'

# tunnel EXPECTED [WORD…]: the endpoint connects; complains where its verdict or what passes isn't so. EXPECTED: allow, isolate,
# block, closed (ended by an error, which is recorded) or refused (no session at all). Words: sessions=N: so many assessments;
# --log TEXT: of the endpoint's log; --server TEXT: of what the server's says meanwhile; others are expectations of the verdict object.
tunnel() {
  local up=yes started before after already sessions=1 log texts=() told=() wants=()
  case $1 in
    closed) wants=(recommendation!=allow evaluation=error);;
    refused) sessions=0;;
    *) wants=("recommendation=$1");;
  esac
  local expected=$1
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      sessions=*) local "$1";;
      --log) texts+=("$2"); shift;;
      --server) told+=("$2"); shift;;
      *) wants+=("$1");;
    esac
    shift
  done
  log=$(mktemp "$logs/endpoint-XXXX.log")
  before=$(recorded vpn | wc -l)
  already=$(wc -l <"$logs/vpn.log")
  started=$EPOCHREALTIME
  connect_vpn endpoint "$log" || up=no
  echo "$expected $up $(awk "BEGIN { print $EPOCHREALTIME - $started }")" >>"$logs/seconds"
  recorded vpn >"$work/sessions.json"
  [ "$sessions" = 0 ] || "${data[@]}" session "$work/sessions.json" 1 "${wants[@]}" || true
  lacks "$log" "${texts[@]}"
  tail -n "+$((already + 1))" "$logs/vpn.log" >"$work/told.log"
  lacks "$work/told.log" "${told[@]}"
  case $expected in
    allow)
      [ $up = yes ] || echo "there is no tunnel: $log"
      arrives endpoint 10.82.0.2 "the protected network"
      stays_out endpoint 10.83.0.2 "the remediation network";;
    isolate)
      [ $up = yes ] || echo "there is no tunnel: $log"
      arrives endpoint 10.83.0.2 "the remediation network"
      stays_out endpoint 10.82.0.2 "the protected network";;
    *)
      [ $up = no ] || echo "there is a tunnel: $log"
      no_way;;
  esac
  after=$(recorded vpn | wc -l)
  [ $((after - before)) -eq "$sessions" ] || echo "$((after - before)) sessions, expected $sessions: $log"
}
no_way() {
  stays_out endpoint 10.82.0.2 "the protected network"
  stays_out endpoint 10.83.0.2 "the remediation network"
}
summary() { echo "processed 1732 IMA file evidence measurements: $1; 136 BIOS evidence measurements are ok"; }
# NAME COUNT: what is established there, keys and all.
tunnels() { [ "$(swanctl_at "$1" --list-sas | grep -c ', INSTALLED,' || true)" -eq "$2" ]; }
verdicts() { recorded vpn | grep -c "\"recommendation\": *\"$1\"" || true; }
told_more() { [ "$(verdicts "$1")" -gt "$2" ]; }  # RECOMMENDATION COUNT

judge "strongSwan, before there is a tunnel" "$(no_way)"
judge "strongSwan, first contact, no baseline yet: isolate" "$(tunnel isolate quote.status=ok findings~baseline)"
gatehouse_of vpn device baseline approve "$device"
disconnect_vpn endpoint
judge "strongSwan, the tunnel ended" "$(no_way)"
judge "strongSwan, 136 firmware events and 1,732 files: allow" "$(
  tunnel allow quote.status=ok evaluation=compliant "summary=$(summary '1625 ok, 107 unknown, 0 differ, 0 failed')")"
# The gateway tells the endpoint at the server's word that its time is over; it comes again, and its place is another one.
before=$(verdicts isolate)
kernel_tells endpoint "$eventlog" "$evidence/tampered/binary_runtime_measurements"
gatehouse_of vpn device reassess "$device"
judge "strongSwan, asked to come again, a list that was edited: isolate" "$(
  await "${charons[gateway]}" told_more isolate "$before" || echo "the endpoint doesn't come again"
  await "${charons[endpoint]}" tunnels endpoint 1 || echo "the tunnels are $(swanctl_at endpoint --list-sas)"
  recorded vpn >"$work/sessions.json"
  "${data[@]}" session "$work/sessions.json" 1 recommendation=isolate quote.status=failed || true
  arrives endpoint 10.83.0.2 "the remediation network"
  stays_out endpoint 10.82.0.2 "the protected network")"
disconnect_vpn endpoint
endpoint_boots changed
judge "strongSwan, a changed file: isolate" "$(
  tunnel isolate quote.status=ok "summary=$(summary '1624 ok, 107 unknown, 1 differ, 0 failed')")"
disconnect_vpn endpoint
endpoint_boots base
judge "strongSwan, the machine as it was: allow" "$(tunnel allow)"
disconnect_vpn endpoint
. "$root/scripts/lib/gateway/strongswan_ways.sh"
. "$root/scripts/lib/gateway/strongswan_scenarios.sh"
. "$root/scripts/lib/gateway/strongswan_two.sh"
# It is cut off by the name that its gateway told, which is the certificate's subject in DER here.
by_certificate
stop_charon endpoint
start_charon endpoint endpoint || environment "the endpoint's charon: $logs/charon-endpoint.log"
judge "strongSwan, by certificate, before its key is revoked: allow" "$(tunnel allow)"
before=$(verdicts block)
gatehouse_of vpn device revoke "$device"
judge "strongSwan, the device's key revoked while it is connected: cut off, and refused when it comes again" "$(
  await "${charons[gateway]}" told_more block "$before" || echo "the endpoint isn't refused"
  await "${charons[gateway]}" tunnels gateway 0 || echo "the tunnels are $(swanctl_at gateway --list-sas)"
  no_way)"
judge "strongSwan, the device's key revoked: block" "$(tunnel block)"
stop_charon endpoint gateway
end_background
stop_serving vpn
kill "$tpm_pid"; wait "$tpm_pid" || true; tpm_pid=''
forget_hosts endpoint second gateway protected remediation pdp
