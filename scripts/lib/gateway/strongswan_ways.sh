# Sourced by scripts/lib/gateway/strongswan.sh: the ways of an endpoint to say the same, among them strongSwan's own acceptance
# scenarios that are of a gateway. Its device is enrolled, its firmware approved, and its machine as it was.
# shellcheck shell=bash disable=SC2034,SC2154
cp "$vpn/endpoint/strongswan.conf" "$vpn/strongswan.conf"
cp "$vpn/endpoint/swanctl.conf" "$vpn/swanctl.conf"
# way NAME EXPECTED [SETTING=VALUE…] [-- what tunnel() takes]: the endpoint with these settings besides.
way() {
  local name=$1 expected=$2 settings=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    settings+=("$1")
    shift
  done
  [ $# -eq 0 ] || shift
  { cat "$vpn/strongswan.conf"; "${data[@]}" configuration "${settings[@]}"; } >"$vpn/endpoint/strongswan.conf"
  stop_charon endpoint
  start_charon endpoint endpoint || environment "the endpoint's charon: $logs/charon-endpoint.log"
  judge "strongSwan, $name: $expected" "$(tunnel "$expected" "$@")"
  disconnect_vpn endpoint
}
by_certificate() {  # from now on: its subject is what it is called
  cp "$work/tls/endpoint.pem" "$vpn/endpoint/x509/"
  cp "$work/tls/endpoint.key" "$vpn/endpoint/private/"
  sed '/id = carol$/d; s|auth = eap-ttls|&\n      certs = endpoint.pem|' "$vpn/swanctl.conf" >"$vpn/endpoint/swanctl.conf"
}
plugins=$(dirname "$imc_os")/../plugins collectors=$(dirname "$imc_os")
eap_ttls=charon.plugins.eap-ttls tnccs=charon.plugins.tnccs-20
allowed=("summary=$(summary '1625 ok, 107 unknown, 0 differ, 0 failed')" quote.status=ok evaluation=compliant)

scenario='scenario 14 (tnccs-20-pdp-eap): '
way "TLS 1.3, batches of 16,370 octets" allow $tnccs.max_batch_size=16370 $tnccs.max_message_size=16338 -- \
  --log 'negotiated TLS 1.3' --log 'EAP method EAP_TTLS succeeded, MSK established' "${allowed[@]}"
way "TLS 1.2, batches of 32,754 octets" allow libtls.version_max=1.2 $tnccs.max_batch_size=32754 $tnccs.max_message_size=32722 -- \
  --log 'negotiated TLS 1.2' --log 'EAP method EAP_TTLS succeeded, MSK established' "${allowed[@]}"
scenario=''
way "EAP packets of 3,072 octets, in IKE fragments" allow $eap_ttls.fragment_size=3072 -- "${allowed[@]}"
way "EAP packets of 256 octets" allow $eap_ttls.fragment_size=256 $eap_ttls.include_length=no -- "${allowed[@]}"
way "batches of 2,048 octets, and segments" allow $tnccs.max_batch_size=2048 $tnccs.max_message_size=2016 -- "${allowed[@]}"
[ ! -e "$plugins/libstrongswan-eap-mschapv2.so" ] ||
  way "EAP-MSCHAPv2, which it asks for in place of EAP-MD5" allow \
    "charon.load=$(sed -n 's/^ *load = //p' "$vpn/strongswan.conf" | sed 's/eap-md5/eap-mschapv2 md4/')" -- \
    --log 'server requested EAP_MSCHAPV2 authentication' "${allowed[@]}"
printf '%s\n' "not $password" >"$work/wrong.secret"
sed "s|\"$password\"|\"not $password\"|" "$vpn/swanctl.conf" >"$vpn/endpoint/swanctl.conf"
way "a wrong password" refused

scenario='scenario 18 (tnccs-20-tls): '
by_certificate
way "by certificate alone, TLS 1.3" allow -- --log 'negotiated TLS 1.3' "${allowed[@]}" 'record.identity=CN=endpoint,O=Gatehouse interop'
way "by certificate alone, TLS 1.2" allow libtls.version_max=1.2 -- --log 'negotiated TLS 1.2' "${allowed[@]}" \
  'record.identity=CN=endpoint,O=Gatehouse interop'
cp "$vpn/swanctl.conf" "$vpn/endpoint/swanctl.conf"

if [ -e "$collectors/imc-test.so" ]; then
  scenario='scenario 2 (tnccs-20): '
  cp "$vpn/endpoint/tnc_config" "$vpn/tnc_config"
  echo "IMC \"Test\" $collectors/imc-test.so" >>"$vpn/endpoint/tnc_config"
  imc_test=libimcv.plugins.imc-test
  way "carol over TLS 1.3" allow libtls.suites=TLS_AES_128_GCM_SHA256 $imc_test.command=allow -- \
    --log 'negotiated TLS 1.3 using suite TLS_AES_128_GCM_SHA256' --log 'server requested EAP_MD5 authentication' \
    --log "PB-TNC access recommendation is 'Access Allowed'" --log 'EAP method EAP_TTLS succeeded, MSK established' "${allowed[@]}"
  way "dave over TLS 1.2" isolate libtls.version_max=1.2 $imc_test.command=isolate -- --log 'negotiated TLS 1.2' \
    --log 'server requested EAP_MD5 authentication' --log "PB-TNC access recommendation is 'Quarantined'" \
    --log 'EAP method EAP_TTLS succeeded, MSK established'
  scenario='scenario 4 (tnccs-20-client-retry): '
  way "another assessment in the same tunnel, after isolation" allow $imc_test.command=isolate $imc_test.retry=yes \
    $imc_test.retry_command=allow -- sessions=2 --log 'sending PB-TNC CRETRY batch' "${allowed[@]}"
  way "another one, and isolated again" isolate $imc_test.command=isolate $imc_test.retry=yes -- sessions=2 \
    --log 'sending PB-TNC CRETRY batch'
  scenario='scenario 19 (tnccs-dynamic), the half that is PB-TNC: '
  way "isolated, not compliant in something minor" isolate $imc_test.command=isolate -- --log "assessment result is 'non-compliant minor'"
  scenario='scenario 8 (tnccs-20-hcd-eap), without a printer: '
  by_certificate
  way "referred to PT-TLS, and refused" block $imc_test.command=block -- --log "PDP server 'pdp.interop' is listening on port 271" \
    --log 'received EAP_FAILURE' 'record.identity=CN=endpoint,O=Gatehouse interop'
  cp "$vpn/swanctl.conf" "$vpn/endpoint/swanctl.conf"
  scenario='scenario 3 (tnccs-20-block): '
  way "what its collector says" block $imc_test.command=block -- --log 'received EAP_FAILURE'
  cp "$vpn/tnc_config" "$vpn/endpoint/tnc_config"
fi
scenario='scenario 6 (tnccs-20-fail-init): '
way "it sends version 3" closed $tnccs.tests.pb_tnc_version=3 -- --log 'received EAP_FAILURE' \
  --server 'PB-TNC Version Not Supported at offset 0' --log "received fatal PB-TNC error 'Version Not Supported' caused by bad version 0x03"
way "it sends a message that nobody knows and that may not be skipped" closed $tnccs.tests.pb_tnc_noskip=yes -- \
  --server 'PB-TNC Unsupported Mandatory Message' --log 'received EAP_FAILURE'
# The protocol before PB-TNC, XML in PT-EAP: a version that isn't spoken here. To its client an answer in PB-TNC isn't XML.
if [ -e "$plugins/libstrongswan-tnccs-11.so" ]; then
  tnccs_11=(charon.plugins.eap-tnc.protocol=tnccs-1.1 "charon.load=$(sed -n 's/^ *load = //p' "$vpn/strongswan.conf" | sed 's/tnccs-20/tnccs-11/')")
  refused_tnccs_11=(--log 'assigned TNCCS Connection ID' --log 'received EAP_FAILURE' --server 'PB-TNC Version Not Supported at offset 0')
  scenario='scenario 1 (tnccs-11): '
  way "carol over TLS 1.3" closed "${tnccs_11[@]}" -- --log 'negotiated TLS 1.3' "${refused_tnccs_11[@]}"
  way "dave over TLS 1.2" closed "${tnccs_11[@]}" libtls.version_max=1.2 -- --log 'negotiated TLS 1.2' "${refused_tnccs_11[@]}"
  scenario='scenario 19 (tnccs-dynamic), the half that is TNCCS 1.1: '
  way "carol, of the server that allows dave's PB-TNC" closed "${tnccs_11[@]}" -- "${refused_tnccs_11[@]}"
fi
scenario=''
cp "$vpn/strongswan.conf" "$vpn/endpoint/strongswan.conf"
