# Sourced by scripts/lib/gateway/run.sh: hostapd (wired) as a switch, wpa_supplicant as an endpoint that can't do PT-EAP, and
# gatehouse-endpoint on the same machine.
#
#   endpoint ── port1 [switch, a bridge for each VLAN] ── VLAN 10 ── protected
#                          │                        └─ VLAN 66 ── pdp (10.83.0.2, for PT-TLS)
#                          └ 10.84.0.1 ── 10.84.0.2 ── pdp (RADIUS)
# shellcheck shell=bash disable=SC2034,SC2154
host endpoint switch protected pdp
wire endpoint uplink '' switch port1 ''
wire protected uplink 10.82.0.2/24 switch inside ''
wire pdp isolation 10.83.0.2/24 switch isolation ''
wire pdp uplink 10.84.0.2/24 switch management 10.84.0.1/24
on endpoint ip address add 10.82.0.9/24 dev uplink  # in place of DHCP in both VLANs
on endpoint ip address add 10.83.0.9/24 dev uplink
for vlan in 10 66; do
  on switch ip link add name vlan$vlan type bridge
  on switch ip link set vlan$vlan up
done
on switch ip link set inside master vlan10
on switch ip link set isolation master vlan66
tpm_host=endpoint
boot base
provision
serve pdp switched 10.84.0.2
by_pt_tls=(--server 10.83.0.2:271 --user carol --password-file "$work/carol.secret")

recipe hostapd.conf >"$work/hostapd.conf"
printf '10 vlan10\n66 vlan66\n' >"$work/vlans"
recipe wpa_supplicant.conf >"$work/wpa_supplicant.conf"
nsenter "$(net switch)" hostapd -ddt "$work/hostapd.conf" >"$logs/hostapd.log" 2>&1 &
background+=($!)
await "$!" on switch test -S /run/hostapd/port1 || environment "hostapd didn't start: $logs/hostapd.log"
nsenter "$(net switch)" hostapd_cli -i port1 -a "$recipes/switch-port.sh" >"$logs/switch-port.log" 2>&1 &
background+=($!)
supplicant_pid=''
plug_in() {  # the endpoint comes, or comes again
  if [ -n "$supplicant_pid" ]; then
    on endpoint wpa_cli -p /run/wpa_supplicant -i uplink logoff >>"$logs/wpa_supplicant.log"
    await "$supplicant_pid" port_closed || true
    kill "$supplicant_pid"
    wait "$supplicant_pid" || true
  fi
  nsenter "$(net endpoint)" wpa_supplicant -ddt -D wired -i uplink -c "$work/wpa_supplicant.conf" >>"$logs/wpa_supplicant.log" 2>&1 &
  supplicant_pid=$!
}
plug_in
vlan_is() { on switch ip link show port1 | grep -q "master vlan$1 "; }  # VLAN
port_closed() { ! vlan_is 10 && ! vlan_is 66; }
port() {  # VLAN: complains. The supplicant says again that it is there after 30 s.
  await "$supplicant_pid" vlan_is "$1" || await "$supplicant_pid" vlan_is "$1" || echo "the port isn't in VLAN $1: $(on switch ip link show port1 | head -n 1)"
}
judge "hostapd, wpa_supplicant, no lease: isolation VLAN" "$(
  port 66
  arrives endpoint 10.83.0.2 "the isolation VLAN"
  stays_out endpoint 10.82.0.2 "the protected VLAN")"
enrol switched "${by_pt_tls[@]}"
judge "and from there it attests over PT-TLS: allow" "$(attests allow '' "${by_pt_tls[@]}")"
plug_in
judge "hostapd, wpa_supplicant, with a lease: VLAN 10" "$(
  port 10
  arrives endpoint 10.82.0.2 "the protected VLAN"
  stays_out endpoint 10.83.0.2 "the isolation VLAN")"
gatehouse_of switched device revoke "$device"
plug_in
judge "hostapd, the device's key revoked: isolation VLAN" "$(
  port 66
  stays_out endpoint 10.82.0.2 "the protected VLAN")"
kill "$supplicant_pid"; wait "$supplicant_pid" || true
end_background
stop_serving switched
kill "$tpm_pid"; wait "$tpm_pid" || true; tpm_pid=''
forget_hosts endpoint switch protected pdp
