# Sourced by scripts/lib/gateway/run.sh: a UDP load balancer in front of two servers, by the kernel's address translation.
#
#   gateways (10.81.0.2 to .9) ── 10.81.0.1 [balancer] 10.84.0.1 ── 10.84.0.2 (pdp), 10.84.0.4 (pdp2)
# shellcheck shell=bash disable=SC2034,SC2154
host gateways balancer pdp pdp2
wire gateways uplink 10.81.0.2/24 balancer gateways 10.81.0.1/24
for n in 3 4 5 6 7 8 9; do on gateways ip address add "10.81.0.$n/24" dev uplink; done
on balancer ip link add name servers type bridge
on balancer ip address add 10.84.0.1/24 dev servers
on balancer ip link set servers up
wire pdp uplink 10.84.0.2/24 balancer one ''
wire pdp2 uplink 10.84.0.4/24 balancer two ''
on balancer ip link set one master servers
on balancer ip link set two master servers
for name in pdp pdp2; do on $name ip route add default via 10.84.0.1; done
on balancer bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
on balancer nft -f "$recipes/balancer.nft"
tpm_host=gateways
boot base
provision
serve pdp first 10.84.0.2
serve pdp2 second 10.84.0.4
balanced=(--radius 10.81.0.1:1812 --server-name pdp.example.org --secret-file "$work/gateways.secret" --user carol
  --password-file "$work/carol.secret")
for name in first second; do
  gatehouse_of $name device add "$device" --ak "$work/ak.pem" --product "$product" --trust
done
from() { on gateways ip route replace 10.81.0.1/32 dev uplink src "10.81.0.$1"; }
served() { recorded "$1" | wc -l; }
# Eight gateways are dealt out among two servers, each conversation whole to one of them.
complaints=''
for n in 2 3 4 5 6 7 8 9; do
  from $n
  code=0
  attest "${balanced[@]}" || code=$?
  [ $code -eq 1 ] || complaints+="a conversation of 10.81.0.$n ends with exit code $code: $logs/endpoint.log"$'\n'
done
first=$(served first) second=$(served second)
[ $((first + second)) -eq 8 ] || complaints+="$first and $second sessions, expected 8 altogether"$'\n'
[ "$first" -gt 0 ] && [ "$second" -gt 0 ] || complaints+="one server had all of them"$'\n'
judge "a load balancer deals gateways out among two servers" "$complaints"
for name in first second; do gatehouse_of $name device baseline approve "$device"; done
from 2
before=$(served first)
judge "an attestation through the balancer: allow" "$(attests allow 'Filter-Id allow' "${balanced[@]}")"
used=second other=first
[ "$(served first)" -eq "$before" ] || used=first other=second
# Out of service: its gateways go to the other one from the next conversation on.
stop_serving $used
to=10.84.0.2
[ $other = first ] || to=10.84.0.4
on balancer nft "flush chain ip balancer prerouting; add rule ip balancer prerouting ip daddr 10.81.0.1 udp dport 1812 dnat to $to"
judge "with one server out of service, the other one has its gateways: allow" "$(attests allow 'Filter-Id allow' "${balanced[@]}")"
stop_serving $other
kill "$tpm_pid"; wait "$tpm_pid" || true; tpm_pid=''
forget_hosts gateways balancer pdp pdp2
