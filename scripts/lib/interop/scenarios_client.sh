# Sourced by scripts/interop.sh: strongSwan's own acceptance scenarios (testing/tests/tnc of its source), in our form
# over PT-TLS, with its client. As there, carol authenticates by password and tells what she can unasked, and dave by
# certificate and waits to be asked. Both are enrolled, and bound to their identities.
# shellcheck shell=bash disable=SC2034,SC2154
carol=(auth=password user=carol ak=rsa tls=1.3)
dave=(auth=ecdsa ak=ecc tls=1.2 --set imc-os.push_info=no)
enrol() {  # dave's certificate
  gatehouse device add "$rsa_id" --ak "$work/ak-rsa.pem" --product "$product" --identity carol --trust
  gatehouse device add "$ecc_id" --ak "$work/ak-ecc.pem" --product "$product" --trust \
    --identity "CN=endpoint-$1,O=Gatehouse interop"
}
forwarding() { echo "$1" >/proc/sys/net/ipv4/ip_forward; }

# --- the machine's software: dpkg's list, a log of what apt did, and the collector's database -----------------------
mkdir -p /run/dpkg/info /run/dpkg/updates /run/measured
cp /var/lib/dpkg/status /run/dpkg/
mount --bind /run/dpkg /var/lib/dpkg
: >/run/history.log
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())' \
  /run/collector.db "$collector_schema"
collector_settings=('sw-collector.load=openssl sqlite' sw-collector.database=sqlite:///run/collector.db
  sw-collector.history=/run/history.log)
"${data[@]}" configuration "${collector_settings[@]}" >"$work/collector.conf"
collect() { STRONGSWAN_CONF=$work/collector.conf quietly collector.log "$sw_collector" --debug 1; }
install_package() {  # NAME VERSION
  local now
  now=$(date -u '+%F  %T')
  printf '\nPackage: %s\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: %s\n' "$1" "$2" \
    >>/run/dpkg/status
  printf 'Description: nothing\n' >>/run/dpkg/status
  printf '\nStart-Date: %s\nCommandline: apt-get install %s\nInstall: %s:all (%s)\nEnd-Date: %s\n' \
    "$now" "$1" "$1" "$2" "$now" >>/run/history.log
}
# What the collector tells of: packages, and the tags that came with strongSwan.
packages() { dpkg-query -W -f '${db:Status-Status}\n' | grep -c '^installed$'; }
own_tags=$(find "$peer/share" -name '*.swidtag' | wc -l)
identifiers() { echo $(($(packages) + own_tags)); }
collect
generator=(--set "libimcv.swid_gen.command=$root/scripts/lib/interop/swid_generator.sh")
events=(--set 'pt-tls-client.load=x509 pem pkcs1 pubkey openssl nonce sqlite tnc-tnccs tnc-imc tnccs-20'
  --set libimcv.plugins.imc-swima.swid_database=sqlite:///run/collector.db "${generator[@]}")
for setting in "${collector_settings[@]}"; do events+=(--set "$setting"); done
software() {  # NAME DEVICE COUNT [TEXT…]: what `gatehouse device software` says
  "$bin/gatehouse" device software "$2" --json --config "$work/gatehouse.toml" >"$work/software.json"
  judge "$1" "$("${data[@]}" software "$work/software.json" "${@:3}" || true)"
}

allowed=(evaluation=compliant)
ask '[]'
serve retry policy test
enrol ecdsa

scenario='scenario 4 (tnccs-20-client-retry): '
peer_client "carol asks for another assessment after isolation" allow "${carol[@]}" sessions=2 \
  --set imc-test.command=isolate --set imc-test.retry=yes --set imc-test.retry_command=allow \
  --first recommendation=isolate --log 'creating PB-TNC CRETRY batch'
peer_client "dave asks for another one, too, and is isolated again" isolate "${dave[@]}" sessions=2 \
  --set imc-test.command=isolate --set imc-test.retry=yes --first recommendation=isolate \
  --log 'creating PB-TNC CRETRY batch'

stop_serving

ask '[{ type = "SWIDT", argument = "R" }]'
serve scenarios policy
enrol ecdsa
scenario='scenario 5 (tnccs-20-ev-pt-tls): '
first=$(identifiers)
peer_client "carol by password, first contact: her inventory" allow "${carol[@]}" "${events[@]}" \
  --log 'received SASL Success result' --log "collected $first SW ID records" \
  --want "items.SWIDT.result=received inventory of $first SW IDs and 0 SWID tags"
software "carol's software is what she told" "$rsa_id" "$first" -gatehouse-interop
install_package gatehouse-interop-one 1.0
collect
peer_client "carol: what changed since, as events" allow "${carol[@]}" "${events[@]}" \
  --log 'collected 1 SW ID event at' --want 'items.SWIDT.result=received 1 SW ID event and 0 SWID tags'
software "carol's software has what was installed" "$rsa_id" $((first + 1)) gatehouse-interop-one-1.0
peer_client "carol: nothing changed since" allow "${carol[@]}" "${events[@]}" \
  --want 'items.SWIDT.result=received 0 SW ID events and 0 SWID tags'
peer_client "dave by certificate, first contact: his inventory" allow "${dave[@]}" "${generator[@]}" \
  --log 'sending TLS CertificateVerify' --log "collected $((first + 1)) SW ID records" \
  --server-log 'skipping SASL' \
  --want "items.SWIDT.result=received inventory of $((first + 1)) SW IDs and 0 SWID tags"
peer_client "dave is asked for events, and has none: his inventory" allow "${dave[@]}" "${generator[@]}" \
  --want "items.SWIDT.result=received inventory of $((first + 1)) SW IDs and 0 SWID tags" \
  --server-log 'fallback to SW ID inventory'
software "dave's software is what he told" "$ecc_id" $((first + 1)) gatehouse-interop-one-1.0
ask '[{ type = "SWIDT", argument = "R T" }]'
peer_client "carol: the tags of what she has, asked for by their identifiers" allow "${carol[@]}" "${events[@]}" \
  --want "items.SWIDT.result=received 0 SW ID events and $((first + 1)) SWID tags"
ask '[{ type = "SWIDT", argument = "R S" }]'
install_while_subscribed() {  # client's process id and log
  await "$1" waits 1 "$2" || return 0
  install_package gatehouse-interop-two 2.0
  await "$1" waits 2 "$2" || true
  kill "$1"
}
waits() { [ "$(grep -c 'waiting for write event on history.log' "$2")" -ge "$1" ]; }
peer_client "carol subscribes: the events of what is installed meanwhile, unasked" allow "${carol[@]}" "${events[@]}" \
  sessions=2 during=install_while_subscribed --set libimcv.plugins.imc-swima.subscriptions=yes \
  --first 'items.SWIDT.result~received 0 SW ID events and 0 SWID tags' \
  --want 'items.SWIDT.result~received 1 SW ID event and 0 SWID tags from subscription' \
  --log 'creating PB-TNC CRETRY batch'
software "carol's software has what was installed while she was connected" "$rsa_id" $((first + 2)) \
  gatehouse-interop-two-2.0
peer_client "dave's collector refuses subscriptions, and answers" allow "${dave[@]}" "${generator[@]}" \
  --want "items.SWIDT.result~received inventory of $((first + 2)) SW IDs" --server-log 'subscriptions not enabled'

scenario='scenario 6 (tnccs-20-fail-init): '
ask '["FWDEN"]'
peer_client "carol sends version 3" closed "${carol[@]}" --set tnccs-20.tests.pb_tnc_version=3 \
  --log "'Version Not Supported' caused by bad version 0x03"
peer_client "dave sends an unknown message with NOSKIP" closed "${dave[@]}" --set tnccs-20.tests.pb_tnc_noskip=yes \
  --log 'Unsupported Mandatory Message'

scenario='scenario 11 (tnccs-20-mutual-pt-tls): '
peer_client "carol offers mutual mode, normal mode is held" allow "${carol[@]}" --mutual --not 'activating mutual' \
  --log 'adding ITA-HSR/PB-Mutual-Capability message'
peer_client "dave offers it by certificate over TLS 1.3" allow "${dave[@]}" tls=1.3 --mutual \
  --not 'activating mutual' --log 'adding ITA-HSR/PB-Mutual-Capability message' --log 'PT-TLS authentication complete' \
  --server-log 'skipping SASL'

scenario='scenario 12 (tnccs-20-os): '
total=$(packages)
ask '["PCKGS", "FWDEN", "PWDEN"]'
forwarding 0
packages_ok="items.PCKGS.result=processed $total packages: 0 vulnerable, 0 blacklisted, 0 ok, $total unknown"
peer_client "carol volunteers, and is asked for her packages" allow "${carol[@]}" --want "$packages_ok" \
  --want 'items.FWDEN.result=forwarding not enabled' --want 'items.PWDEN.result=factory default password not enabled'
peer_client "dave is asked for everything" allow "${dave[@]}" --want "$packages_ok" \
  --log "attribute type 'IETF/Attribute Request'" --log "attribute type 'IETF/Forwarding Enabled'"
forwarding 1
peer_client "dave forwards IP packets" isolate "${dave[@]}" --want 'items.FWDEN.result=forwarding enabled' \
  --want "$packages_ok" --set tnc-imc.preferred_language=de \
  --log "reason string is 'Unzulässige OS Einstellungen wurden festgestellt' [de]"
forwarding 0
lists='blacklisted = ["gatehouse-interop-one *"], vulnerable = ["gatehouse-interop-two < 3", "dpkg < 1"]'
ask "[\"FWDEN\", { type = \"PCKGS\", on_fail = \"block\", $lists }]"
peer_client "carol has packages that the policy names" block "${carol[@]}" --log 'Blacklisted Software Packages' \
  --want "items.PCKGS.result=processed $total packages: 1 vulnerable, 1 blacklisted, 0 ok, $((total - 2)) unknown" \
  --log 'gatehouse-interop-one' --log 'gatehouse-interop-two'
ask '["FWDEN", { type = "UNSRC", on_noresult = "isolate" }]'
peer_client "carol's collector has no such setting" isolate "${carol[@]}" --want 'items.UNSRC.result=no answer' \
  --want items.UNSRC.evaluation=unknown --want 'items.FWDEN.result=forwarding not enabled'
ask '[{ type = "TCPOP", argument = "22 4711" }, { type = "UDPBL", argument = "69" }]'
python3 -c 'import socket, time
s = socket.create_server(("", 4711))
time.sleep(3600)' &
listener=$!
await "$listener" listening 4711
peer_client "carol's open ports are those allowed" allow "${carol[@]}" \
  --want 'items.TCPOP.result=no violating tcp ports' --want 'items.UDPBL.result=no violating udp ports'
ask '[{ type = "TCPBL", argument = "4711" }]'
peer_client "carol has a forbidden port open" isolate "${carol[@]}" \
  --want 'items.TCPBL.result=violating tcp ports: 4711'
kill "$listener"

# --- 13, 16, 17: the same, and files measured by the Attestation collector ------------------------------------------
printf 'one\n' >/run/measured/one
printf 'two\n' >/run/measured/two
learn='[{ type = "DREFM", argument = "/run/measured" }]'
measure='[{ type = "FMEAS", argument = "/run/measured/one" }, { type = "DMEAS", argument = "/run/measured" },
  { type = "FMETA", argument = "/run/measured/two" }, "FWDEN"]'
measured=(--want 'items.FMEAS.result=file measurement correct' --want 'items.DMEAS.result=directory measurement correct'
  --want 'items.FMETA.result=file metadata requested')
learn_files() {
  ask "$learn"
  peer_client "carol's files become references" allow "${carol[@]}" \
    --want 'items.DREFM.result=directory reference measurement successful'
  peer_client "dave's files become references" allow "${dave[@]}" \
    --want 'items.DREFM.result=directory reference measurement successful'
  ask "$measure"
}

scenario='scenario 13 (tnccs-20-os-pts): '
learn_files
peer_client "carol's files, a folder and a file's metadata" allow "${carol[@]}" "${measured[@]}"
forwarding 1
peer_client "dave's files are as they were, but he forwards IP packets" isolate "${dave[@]}" "${measured[@]}" \
  --want 'items.FWDEN.result=forwarding enabled'
forwarding 0
printf 'another\n' >/run/measured/one
peer_client "carol's file is another" isolate "${carol[@]}" --want 'items.FMEAS.result=file measurement not correct' \
  --want 'items.DMEAS.result=directory measurement not correct' --want 'findings~/run/measured/one'
printf 'one\n' >/run/measured/one

scenario='scenario 16 (tnccs-20-pts): '
peer_client "carol over TLS 1.3" allow "${carol[@]}" "${measured[@]}" --log 'negotiated TLS 1.3' \
  --set libtls.suites=TLS_AES_128_GCM_SHA256
peer_client "dave over TLS 1.2" allow "${dave[@]}" "${measured[@]}" --log 'negotiated TLS 1.2' \
  --set libtls.suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256

scenario='scenario 15 (tnccs-20-pdp-pt-tls): '
known=$(identifiers)
ask '["TPMRA", { type = "SWIDT", argument = "R" }, "FWDEN"]'
peer_client "carol's first attestation, no baseline yet" isolate "${carol[@]}" "${generator[@]}" \
  --want findings~baseline
gatehouse device baseline approve "$rsa_id"
peer_client "dave's first attestation, no baseline yet" isolate "${dave[@]}" "${generator[@]}" --want findings~baseline
gatehouse device baseline approve "$ecc_id"
allowed=(quote.status=ok evaluation=compliant "summary=$all_ok")
peer_client "carol by password: the seed's workload and her inventory" allow "${carol[@]}" "${generator[@]}" \
  --want "items.SWIDT.result=received inventory of $known SW IDs and 0 SWID tags"
peer_client "dave by certificate: the same" allow "${dave[@]}" tls=1.3 "${generator[@]}" \
  --want "items.SWIDT.result=received inventory of $known SW IDs and 0 SWID tags" --server-log 'skipping SASL'
peer_client "carol: the seed's workload and events" allow "${carol[@]}" "${events[@]}"
ask '["TPMRA", "SWIDT", "PCKGS", "FWDEN"]'
peer_client "carol: the seed's workload, all tags and all packages" allow "${carol[@]}" "${generator[@]}" \
  --want "items.SWIDT.result=received $known SWID tags" --want "$packages_ok"
peer_client "dave: the same in batches of 16 KiB" allow "${dave[@]}" tls=1.3 batch=16370 "${generator[@]}" \
  --want "items.SWIDT.result=received $known SWID tags" --want "$packages_ok"
allowed=(evaluation=compliant)
stop_serving

scenario='scenario 17 (tnccs-20-pts-no-ecc): '
ask "$learn"
serve no-ecc policy certificate=server-rsa 'groups=["modp2048"]'
enrol rsa
carol+=(--set libtls.suites=TLS_AES_128_GCM_SHA256 --set imc-attestation.mandatory_dh_groups=no)
dave=(auth=rsa ak=ecc tls=1.2 --set imc-os.push_info=no --set libtls.suites=TLS_DHE_RSA_WITH_AES_128_GCM_SHA256
  --set imc-attestation.mandatory_dh_groups=no)
learn_files
peer_client "carol over TLS 1.3" allow "${carol[@]}" "${measured[@]}" --log 'negotiated TLS 1.3'
forwarding 1
peer_client "dave over TLS 1.2 with DHE, and he forwards IP packets" isolate "${dave[@]}" "${measured[@]}" \
  --log 'negotiated TLS 1.2 using suite TLS_DHE_RSA_WITH_AES_128_GCM_SHA256'
forwarding 0
ask '["TPMRA"]'
peer_client "carol's quote over a nonce of MODP 2048" isolate "${carol[@]}" --want quote.status=ok \
  --want findings~baseline --log 'selected PTS DH group is MODP_2048'
gatehouse device baseline approve "$rsa_id"
peer_client "carol's firmware approved" allow "${carol[@]}" --want quote.status=ok --want "summary=$all_ok"
stop_serving
scenario='' allowed=()
