# Sourced by scripts/lib/demo/gateway.sh where strongSwan is installed: the same again with strongSwan as gateway and as endpoint.
# The endpoint's own IKEv2 client proves its machine, and the gateway's tunnel comes up or not by the answer.
# shellcheck shell=bash disable=SC2034,SC2154
logs=$run vpn=$run/vpn
. scripts/lib/gateway/vpn.sh
say "strongSwan below $peer as VPN gateway and as endpoint"
choose_esp endpoint || fail "neither the kernel nor strongSwan below $peer has ESP"
rm -rf "${vpn:?}"
vpn_secret=$(cat "$run/tls/vpn.secret") vpn_password=$(cat "$run/tls/carol.secret")
(umask 077; mkdir "$vpn"; configure_charon gateway gateway; configure_charon endpoint endpoint)
cp "$run/tls/vpn.pem" "$vpn/gateway/x509/"
cp "$run/tls/vpn.key" "$vpn/gateway/private/"
cp "$run/tls/ca.pem" "$vpn/gateway/x509ca/"
cp "$run/tls/ca.pem" "$vpn/endpoint/x509ca/"
on gateway ip address add 10.84.0.5/24 dev pdp  # the recipe's
on gateway nft 'delete table ip gateway'
on gateway nft -f docs/gateways/strongswan-gateway/forward.nft
start_charon gateway gateway || fail "strongSwan's gateway didn't start: $run/charon-gateway.log"
at_endpoint=(nsenter "$(net endpoint)")
reboot_endpoint() {  # IMA list
  stop_charon endpoint
  boot "$1"
  kernel_tells endpoint "$eventlog" "$1"
  start_charon endpoint endpoint || fail "strongSwan's client didn't start: $run/charon-endpoint.log"
}
dial_in() {  # verdict file, expected recommendation
  local got up=up
  connect_vpn endpoint "$logs/swanctl.log" || up="not up"
  gatehouse session list --last 1 --json >"$run/$1" || fail "the session isn't in the store"
  got=$(field "$run/$1" recommendation)
  echo "   verdict: $got; $(field "$run/$1" summary)"
  [ "$got" = "$2" ] || fail "expected $2, got $got: $run/$1"
  echo "   the tunnel is $up"
  case $2:$up in allow:up|isolate:up|block:not*) ;; *) fail "that is not what the verdict says: $run/swanctl.log";; esac
}
gatehouse device trust "$device" --key "$device"

say "4. the clean endpoint gets a tunnel"
reboot_endpoint "$run/ima-clean.bin"
dial_in verdict-4.json allow
passes protected 10.82.0.2 yes
passes remediation 10.83.0.2 no
disconnect_vpn endpoint

say "5. after a reboot with $victim changed it gets one to the isolation network"
reboot_endpoint "$run/ima-changed.bin"
dial_in verdict-5.json isolate
passes protected 10.82.0.2 no
passes remediation 10.83.0.2 yes
disconnect_vpn endpoint

say "6. its key revoked, it gets none"
gatehouse device revoke "$device"
dial_in verdict-6.json block
passes protected 10.82.0.2 no
passes remediation 10.83.0.2 no
stop_charon endpoint gateway
judge_counts '[[4, 0], [5, 1]]'
