# Sourced by scripts/lib/gateway/strongswan.sh: two endpoints that are called by the same name, at the same moment; packets that get
# lost; a gateway and a server that are killed half way. The first endpoint is as it was enrolled.
# shellcheck shell=bash disable=SC2034,SC2154
stop_charon endpoint
start_charon endpoint endpoint || environment "the endpoint's charon: $logs/charon-endpoint.log"
# Dropped where they arrive: who sends one would be told.
on pdp nft 'table inet loss { chain ask { type filter hook input priority 0; udp dport 1812 numgen inc mod 97 == 7 drop; }; }'
on gateway nft 'table inet loss { chain answer { type filter hook input priority 0; udp sport 1812 numgen inc mod 97 == 77 drop; }; }'
judge "strongSwan, each 97th packet to RADIUS and back is lost: allow" "$(tunnel allow "${allowed[@]}")"
for name in pdp gateway; do on $name nft 'delete table inet loss'; done
disconnect_vpn endpoint

# What is connecting here: a shell waits for its own children alone, so this is no complaint that $(…) could make.
ends_without_tunnel() {
  complaints=''
  ! wait "$connecting" || complaints=$'there is a tunnel\n'
  complaints+=$(no_way)
}
begun() { [ "$(grep -c 'PT-EAP with' "$logs/vpn.log")" -gt "$1" ]; }
before=$(grep -c 'PT-EAP with' "$logs/vpn.log")
connect_vpn endpoint "$logs/swanctl.log" &
connecting=$!
await "$connecting" begun "$before" || true
kill -KILL "${charons[gateway]}"
stop_charon gateway endpoint  # which would wait for minutes for the gateway that it knew
ends_without_tunnel
judge "strongSwan, the gateway is killed half way: no tunnel" "$complaints"
start_charon gateway gateway || environment "the gateway's charon: $logs/charon-gateway.log"
start_charon endpoint endpoint || environment "the endpoint's charon: $logs/charon-endpoint.log"
judge "strongSwan, and started again: allow" "$(tunnel allow "${allowed[@]}")"
disconnect_vpn endpoint

before=$(grep -c 'PT-EAP with' "$logs/vpn.log")
connect_vpn endpoint "$logs/swanctl.log" &
connecting=$!
await "$connecting" begun "$before" || true
kill -KILL "${server_pids[vpn]}"
wait "${server_pids[vpn]}" 2>/dev/null || true
mv "$logs/vpn.log" "$logs/vpn-killed.log"
serve pdp vpn 10.84.0.2 "$with_test_imv"
ends_without_tunnel
judge "strongSwan, the server is killed half way: no tunnel" "$complaints"
judge "strongSwan, and started again: allow" "$(tunnel allow "${allowed[@]}")"
disconnect_vpn endpoint

# --- the second one, with a TPM of its own --------------------------------------------------------------------------
mkdir "$work/tpm-second"
nsenter "$(net second)" swtpm socket --tpm2 --tpmstate "dir=$work/tpm-second" \
  --server type=tcp,port=2321,bindaddr=127.0.0.1 --ctrl type=tcp,port=2322,bindaddr=127.0.0.1 \
  --flags not-need-init >>"$logs/swtpm.log" 2>&1 &
background+=($!)
await "$!" on second bash -c 'exec 9<>/dev/tcp/127.0.0.1/2322' || environment "swtpm: $logs/swtpm.log"
quietly tpm.log on second "$bin/gatehouse-tpm-extend" --tcti "$tcti" --startup-locality 3 --eventlog "$eventlog" --ima "$list"
quietly tpm.log on second "$bin/gatehouse-endpoint" provision --tcti "$tcti" --handle 0x81010002 --pem "$work/ak-second.pem"
second=$(openssl pkey -pubin -in "$work/ak-second.pem" -outform DER | openssl sha1 -r | cut -d' ' -f1)
gatehouse_of vpn device add "$second" --ak "$work/ak-second.pem" --product "$product" --trust --identity carol
(umask 077; configure_charon second endpoint)
cp "$work/tls/ca.pem" "$vpn/second/x509ca/"
kernel_tells second "$eventlog" "$list"
start_charon second second || environment "the second endpoint's charon: $logs/charon-second.log"
newest() {  # DEVICE RECOMMENDATION: one of the two newest sessions
  head -n 2 "$work/sessions.json" | grep "\"device\": *\"$1\"" | grep -q "\"recommendation\": *\"$2\"" ||
    echo "no session of $1 with $2 among the two newest"
}
connect_vpn endpoint "$logs/endpoint-both.log" &
connecting=$!
connect_vpn second "$logs/second-both.log" || true
wait "$connecting" || true
judge "strongSwan, two endpoints of one user at the same moment: allow and isolate, each its own" "$(
  recorded vpn >"$work/sessions.json"
  newest "$device" allow
  newest "$second" isolate
  arrives endpoint 10.82.0.2 "the protected network"
  stays_out endpoint 10.83.0.2 "the remediation network"
  arrives second 10.83.0.2 "the remediation network, from the second endpoint,"
  stays_out second 10.82.0.2 "the protected network, from the second endpoint,")"
# Such a gateway knows a connection by its user alone: both are cut off, and both come again by themselves.
blocked=$(verdicts block) let_in=$(verdicts allow)
gatehouse_of vpn device revoke "$second"
judge "strongSwan, one of them has its key revoked: both are cut off, and the other one is back" "$(
  await "${charons[gateway]}" told_more block "$blocked" || echo "the second endpoint isn't refused"
  await "${charons[gateway]}" told_more allow "$let_in" || echo "the first endpoint doesn't come again"
  arrives endpoint 10.82.0.2 "the protected network"
  stays_out second 10.82.0.2 "the protected network, from the second endpoint,"
  stays_out second 10.83.0.2 "the remediation network, from the second endpoint,")"
stop_charon second
disconnect_vpn endpoint
