# Sourced by scripts/interop.sh: strongSwan's own acceptance scenarios (testing/tests/tnc of its source), in our form
# over PT-TLS, with gatehouse-endpoint and strongSwan's policy decision point.
# shellcheck shell=bash disable=SC2034,SC2154
endpoint_carol=(auth=password ak=rsa)
endpoint_dave=(auth=ecdsa ak=ecc)
pdp_database base

scenario='scenario 4 (tnccs-20-client-retry): '
pdp_asks FWDEN
start_pdp 1.3 sha256 "tnc.tnc_config=$work/tnc_test"
pdp "carol asks for another assessment after isolation" allow "${endpoint_carol[@]}" \
  --test-command isolate --test-retry allow --log 'processing PB-TNC CRETRY batch' \
  --log "IMV 5 provides recommendation 'isolate'" --log "IMV 5 provides recommendation 'allow'"
pdp "dave asks for another one, too, and is isolated again" isolate "${endpoint_dave[@]}" \
  --test-command isolate --test-retry isolate --log 'processing PB-TNC CRETRY batch'

scenario='scenario 5 (tnccs-20-ev-pt-tls): '
pdp_asks SWIDT=R
start_pdp 1.3 sha256
told=$(packages)
pdp "carol by password: the events of her log from the first" allow "${endpoint_carol[@]}" \
  --log 'authenticated by password' --log "received $told SW ID events and 0 SWID tags"
install_package gatehouse-interop-three 3.0
pdp "carol: something was installed" allow "${endpoint_carol[@]}" \
  --log "received $((told + 1)) SW ID events and 0 SWID tags"
pdp_asks SWIDT
pdp "dave by certificate: the tags of his inventory" allow "${endpoint_dave[@]}" --log 'skipping SASL' \
  --log 'authenticated by certificate' --log "received $((told + 1)) SWID tags"

scenario='scenario 7 (tnccs-20-fail-resp): '
start_pdp 1.3 sha256 plugins.tnccs-20.tests.pb_tnc_version=3
pdp "the server answers with version 3" failed "${endpoint_carol[@]}" --own-log "PB-TNC version isn't 2" \
  --log "'Version Not Supported' caused by bad version 0x03"

scenario='scenario 11 (tnccs-20-mutual-pt-tls): '
pdp_asks FWDEN
start_pdp 1.3 sha256 plugins.tnccs-20.mutual=yes
pdp "a server of mutual mode, normal mode is held" allow "${endpoint_dave[@]}" --log 'skipping SASL' \
  --not 'activating mutual'

scenario='scenario 12 (tnccs-20-os): '
pdp_asks PCKGS FWDEN PWDEN
start_pdp 1.3 sha256
forwarding 0
pdp "carol tells of her settings" allow "${endpoint_carol[@]}" --log 'forwarding not enabled' \
  --log 'factory default password not enabled' --log "processed $(packages) packages: 0 vulnerable, 0 blacklisted"
forwarding 1
pdp "dave forwards IP packets" isolate "${endpoint_dave[@]}" --log 'forwarding enabled' \
  --own-log 'IP Packet Forwarding'
forwarding 0

pdp_asks "TCPOP=22 4711 $pdp_port" "UDPBL=69"
python3 -c 'import socket, time
s = socket.create_server(("", 4711))
time.sleep(3600)' &
listener=$!
await "$listener" listening 4711
pdp "carol's open ports are those allowed" allow "${endpoint_carol[@]}" --log 'no violating tcp ports'
pdp_asks TCPBL=4711
pdp "carol has a forbidden port open" isolate "${endpoint_carol[@]}" --log 'violating tcp ports: 4711'
kill "$listener"

# --- 13, 16, 17: the same, and files measured and described ---------------------------------------------------------
endpoint_measures() { pdp_asks FMEAS=/run/measured/one DMEAS=/run/measured FMETA=/run/measured/two FWDEN; }
endpoint_measured=(--log 'allow - file measurement correct' --log 'allow - directory measurement correct'
  --log 'allow - file metadata requested')
scenario='scenario 13 (tnccs-20-os-pts): '
start_pdp 1.3 sha256
pdp_asks DREFM=/run/measured
pdp "carol's files become references" allow "${endpoint_carol[@]}" \
  --log 'directory reference measurement successful'
pdp "dave's files become references" allow "${endpoint_dave[@]}" --log 'directory reference measurement successful'
endpoint_measures
pdp "carol's files, a folder and a file's metadata" allow "${endpoint_carol[@]}" "${endpoint_measured[@]}"
forwarding 1
pdp "dave's files are as they were, but he forwards IP packets" isolate "${endpoint_dave[@]}" \
  "${endpoint_measured[@]}" --log 'forwarding enabled'
forwarding 0
printf 'another\n' >/run/measured/one
pdp "carol's file is another" isolate "${endpoint_carol[@]}" --log 'isolate - file measurement not correct' \
  --log 'isolate - directory measurement not correct'
printf 'one\n' >/run/measured/one

scenario='scenario 15 (tnccs-20-pdp-pt-tls): '
pdp_asks TPMRA=BI SWIDT=R FWDEN PWDEN
allowed_by_pdp=("${all_ok%%;*}")
pdp "carol by password: the seed's workload; the first session registers the firmware" allow "${endpoint_carol[@]}" \
  --log 'registered 136 BIOS evidence measurements' --log 'authenticated by password'
pdp "dave by certificate: the same" allow "${endpoint_dave[@]}" --log 'skipping SASL' \
  --log 'registered 136 BIOS evidence measurements' --log 'authenticated by certificate'
seen=(--log '136 BIOS evidence measurements are ok' --log "received $(packages) SW ID events and 0 SWID tags"
  --log 'forwarding not enabled')
pdp "carol: the seed's workload" allow "${endpoint_carol[@]}" "${seen[@]}"
pdp "dave: the seed's workload" allow "${endpoint_dave[@]}" "${seen[@]}"

scenario='scenario 16 (tnccs-20-pts): '
allowed_by_pdp=()
endpoint_measures
start_pdp 1.3 sha256
pdp "carol over TLS 1.3" allow "${endpoint_carol[@]}" "${endpoint_measured[@]}" --log 'negotiated TLS 1.3'
start_pdp 1.2 sha256
pdp "dave over TLS 1.2" allow "${endpoint_dave[@]}" "${endpoint_measured[@]}" --legacy-tls12-server \
  --log 'negotiated TLS 1.2'

scenario='scenario 17 (tnccs-20-pts-no-ecc): '
start_pdp 1.3 sha256 libimcv.plugins.imv-attestation.mandatory_dh_groups=no \
  libimcv.plugins.imv-attestation.dh_group=modp2048
pdp "carol" allow "${endpoint_carol[@]}" "${endpoint_measured[@]}"
forwarding 1
pdp "dave forwards IP packets" isolate "${endpoint_dave[@]}" "${endpoint_measured[@]}" --log 'forwarding enabled'
forwarding 0
pdp_asks TPMRA=BI FWDEN
pdp "carol's nonce of MODP 2048" allow "${endpoint_carol[@]}" --log 'selected PTS DH group is MODP_2048' \
  --log "${all_ok%%;*}"
forwarding 1
pdp "dave's, and he forwards IP packets" isolate "${endpoint_dave[@]}" --log 'selected PTS DH group is MODP_2048' \
  --log 'forwarding enabled'
forwarding 0
stop_pdp
scenario='' allowed_by_pdp=()
