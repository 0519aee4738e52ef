# Sourced by scripts/lib/gateway/strongswan.sh: those of strongSwan's acceptance scenarios (testing/tests/tnc of its source) by way of a
# gateway that are of a policy: what its OS collector tells, and files that its Attestation collector measures. carol authenticates by
# password and tells what she can unasked; dave by certificate over TLS 1.2, and waits to be asked. Both are the one machine here.
# shellcheck shell=bash disable=SC2034,SC2154
ask() {  # what a policy's group asks
  local said
  printf '[policy]\nunknown_devices = "block"\n[groups.all]\nask = %s\n' "$1" >"$work/policy.toml"
  said=$(policies_read)
  kill -HUP "${server_pids[vpn]}"
  await "${server_pids[vpn]}" read_after "$said" || environment "gatehouse serve doesn't read its policy: $logs/vpn.log"
}
policies_read() { grep -c 'reference generation' "$logs/vpn.log" || true; }
read_after() { [ "$(policies_read)" -gt "$1" ]; }  # COUNT
forwarding() { on endpoint bash -c "echo $1 >/proc/sys/net/ipv4/ip_forward"; }
as_carol() { cp "$vpn/swanctl.conf" "$vpn/endpoint/swanctl.conf"; }
carol=() dave=(libtls.version_max=1.2 libimcv.plugins.imc-os.push_info=no)

scenario='scenario 12 (tnccs-20-os): '
ask '["PCKGS", "FWDEN", "PWDEN"]'
total=$(dpkg-query -W -f '${db:Status-Status}\n' | grep -c '^installed$')
packages_ok="items.PCKGS.result=processed $total packages: 0 vulnerable, 0 blacklisted, 0 ok, $total unknown"
forwarding 0
way "carol volunteers, and is asked for her packages" allow "${carol[@]}" -- --log 'negotiated TLS 1.3' "$packages_ok" \
  'items.FWDEN.result=forwarding not enabled' 'items.PWDEN.result=factory default password not enabled'
by_certificate
way "dave is asked for everything" allow "${dave[@]}" -- --log 'negotiated TLS 1.2' "$packages_ok" \
  'record.identity=CN=endpoint,O=Gatehouse interop'
forwarding 1
way "dave forwards IP packets" isolate "${dave[@]}" -- 'items.FWDEN.result=forwarding enabled' "$packages_ok"
forwarding 0

scenario='scenario 13 (tnccs-20-os-pts): '
mkdir -p "$work/measured"
printf 'one\n' >"$work/measured/one"
printf 'two\n' >"$work/measured/two"
learn="[{ type = \"DREFM\", argument = \"$work/measured\" }]"
measure="[{ type = \"FMEAS\", argument = \"$work/measured/one\" }, { type = \"DMEAS\", argument = \"$work/measured\" },
  { type = \"FMETA\", argument = \"$work/measured/two\" }, \"FWDEN\"]"
measured=('items.FMEAS.result=file measurement correct' 'items.DMEAS.result=directory measurement correct'
  'items.FMETA.result=file metadata requested')
as_carol
ask "$learn"
way "carol's files become references" allow "${carol[@]}" -- 'items.DREFM.result=directory reference measurement successful'
ask "$measure"
way "carol's files, a folder and a file's metadata" allow "${carol[@]}" -- "${measured[@]}"
by_certificate
forwarding 1
way "dave's files are as they were, but he forwards IP packets" isolate "${dave[@]}" -- "${measured[@]}" \
  'items.FWDEN.result=forwarding enabled'
forwarding 0
printf 'another\n' >"$work/measured/one"
way "dave's file is another" isolate "${dave[@]}" -- 'items.FMEAS.result=file measurement not correct' \
  'items.DMEAS.result=directory measurement not correct'
printf 'one\n' >"$work/measured/one"

scenario='scenario 16 (tnccs-20-pts): '
way "dave over TLS 1.2 with ECDHE" allow "${dave[@]}" libtls.suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 -- \
  --log 'negotiated TLS 1.2 using suite TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256' "${measured[@]}"
as_carol
way "carol over TLS 1.3" allow "${carol[@]}" libtls.suites=TLS_AES_128_GCM_SHA256 -- \
  --log 'negotiated TLS 1.3 using suite TLS_AES_128_GCM_SHA256' "${measured[@]}"

# The server's certificate has a curve here, and TLS 1.3 its own: what does without is the nonce of the quote.
scenario='scenario 17 (tnccs-20-pts-no-ecc): '
no_ecc=libimcv.plugins.imc-attestation.mandatory_dh_groups=no
way "carol's files" allow "${carol[@]}" $no_ecc -- "${measured[@]}"
ask '[{ type = "TPMRA", on_fail = "isolate", on_noresult = "block" }]'
way "a quote over a nonce of a MODP group" allow "${carol[@]}" $no_ecc libimcv.plugins.imc-attestation.dh_group=modp2048 -- \
  "${allowed[@]}"
scenario=''
cp "$vpn/strongswan.conf" "$vpn/endpoint/strongswan.conf"
as_carol
