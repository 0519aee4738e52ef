# Sourced by scripts/lib/gateway/run.sh: FreeRADIUS as a proxy between gateways and Gatehouse.
#
#   gateways (10.81.0.2) ── 10.81.0.1 [proxy] 10.84.0.3 ── 10.84.0.2 (pdp)
# shellcheck shell=bash disable=SC2034,SC2154
host gateways proxy pdp
wire gateways uplink 10.81.0.2/24 proxy gateways 10.81.0.1/24
wire proxy servers 10.84.0.3/24 pdp uplink 10.84.0.2/24
tpm_host=gateways
boot base
provision
serve pdp proxied 10.84.0.2
mkdir -p "$work/raddb"
recipe freeradius.conf >"$work/raddb/radiusd.conf"
chmod -R go-rwx "$work/raddb"
nsenter "$(net proxy)" freeradius -d "$work/raddb" -n radiusd -fxx -l stdout >"$logs/freeradius.log" 2>&1 &
proxy_pid=$!
background+=($proxy_pid)
await "$proxy_pid" grep -q 'Ready to process requests' "$logs/freeradius.log" || environment "FreeRADIUS: $logs/freeradius.log"
by_proxy=(--radius 10.81.0.1:1812 --server-name pdp.example.org --secret-file "$work/gateways.secret")
carol=(--user carol --password-file "$work/carol.secret")
enrol proxied "${by_proxy[@]}" "${carol[@]}"
judge "through FreeRADIUS, PT-EAP, TLS 1.3: allow" "$(attests allow 'Filter-Id allow' "${by_proxy[@]}" "${carol[@]}")"
judge "through FreeRADIUS, PT-EAP, TLS 1.2, a certificate: allow" "$(
  attests allow 'Filter-Id allow' "${by_proxy[@]}" --tls12 --certificate "$work/tls/endpoint.pem" --key "$work/tls/endpoint.key")"
boot changed
judge "through FreeRADIUS, PT-EAP, a changed file: isolate" "$(attests isolate 'Filter-Id isolate' "${by_proxy[@]}" "${carol[@]}")"
boot base
attest "${by_proxy[@]}" "${carol[@]}" || true  # a lease for what follows
for method in MD5 MSCHAPV2 GTC; do
  {
    printf 'network={\n  key_mgmt=IEEE8021X\n  eap=TTLS\n  identity="carol"\n  anonymous_identity="anonymous"\n'
    printf '  password="%s"\n  ca_cert="%s"\n  phase2="autheap=%s"\n}\n' "$password" "$work/tls/ca.pem" "$method"
  } >"$work/eapol_test.conf"
  log=$logs/eapol_test-$method.log
  on gateways eapol_test -c "$work/eapol_test.conf" -a 10.81.0.1 -s "$(cat "$work/gateways.secret")" -t 20 >"$log" 2>&1 || true
  judge "through FreeRADIUS, eapol_test, EAP-$method, by lease: allow" "$(
    [ "$(tail -n 1 "$log")" = SUCCESS ] || echo "$log ends in $(tail -n 1 "$log")"
    lacks "$log" 'MPPE keys OK: 1' 'Attribute 11 '  # Filter-Id
    tail -n 3 "$logs/proxied.log" | grep -q "by its lease: allow" || echo "proxied.log doesn't say so")"
done
gatehouse_of proxied device revoke "$device"
judge "through FreeRADIUS, the device's key revoked: block" "$(attests block 'Access-Reject' "${by_proxy[@]}" "${carol[@]}")"
end_background
stop_serving proxied
kill "$tpm_pid"; wait "$tpm_pid" || true; tpm_pid=''
forget_hosts gateways proxy pdp
