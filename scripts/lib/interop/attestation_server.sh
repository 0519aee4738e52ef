# Sourced by scripts/interop.sh: attestations of gatehouse-endpoint by strongSwan's policy decision point.
# shellcheck shell=bash disable=SC2034,SC2154
allowed_by_pdp=("${all_ok%%;*}")
pdp_database base
start_pdp 1.3 sha256
pdp "password, TLS 1.3, RSA AK; the first session registers the firmware" allow \
  --log 'registered 136 BIOS evidence measurements'
pdp "password, TLS 1.3, RSA AK" allow --log '136 BIOS evidence measurements are ok' --log "authenticated by password"
pdp "ECDSA certificate, TLS 1.3, ECC AK; the first session registers the firmware" allow auth=ecdsa ak=ecc \
  --log 'registered 136 BIOS evidence measurements'
pdp "ECDSA certificate, TLS 1.3, ECC AK" allow auth=ecdsa ak=ecc --log '136 BIOS evidence measurements are ok' \
  --log "skipping SASL"
pdp "RSA certificate, RSA AK with certificate" allow auth=rsa --ak-certificate "$work/tls/ak-rsa.pem" \
  --log 'AIK certificate is trusted'
pdp "password, ECC AK with certificate" allow ak=ecc --ak-certificate "$work/tls/ak-ecc.pem" \
  --log 'AIK certificate is trusted'
pdp "password, batches of 2 KiB" allow --max-batch 2048
pdp "ECDSA certificate, batches of 32 KiB, ECC AK" allow auth=ecdsa ak=ecc --max-batch 32754
pdp "PCR values with each measurement" allow --pcr-info
pdp "ECP 384, long nonce" allow --dh-group ecp384 --nonce-size 255 --log 'selected PTS DH group is ECP_384'
pdp "wrong password" refused auth=wrong-password --log 'SASL PLAIN authentication failed'
boot changed
pdp "a changed file, RSA AK" isolate --log '1624 ok, 107 unknown, 1 differ' --log 'non-compliant minor'
pdp "a changed file, ECC AK" isolate auth=ecdsa ak=ecc --log '1624 ok, 107 unknown, 1 differ'
boot base
start_pdp 1.2 sha256
pdp "password, TLS 1.2, RSA AK" allow --legacy-tls12-server
pdp "ECDSA certificate, TLS 1.2, ECC AK" allow auth=ecdsa ak=ecc --legacy-tls12-server
stop_pdp
sha384=(--hash sha384 --dh-group modp2048)
boot base384
pdp_database base384
start_pdp 1.3 sha384
pdp "SHA-384, MODP 2048; the bank's first session registers the firmware" allow "${sha384[@]}" \
  --log 'registered 136 BIOS evidence measurements'
pdp "SHA-384, MODP 2048" allow "${sha384[@]}" --log '136 BIOS evidence measurements are ok' \
  --log 'selected PTS measurement algorithm is HASH_SHA2_384' --log 'selected PTS DH group is MODP_2048'
stop_pdp
allowed_by_pdp=()
boot base
