# Sourced by scripts/interop.sh: attestations of strongSwan's client by gatehouse serve.
# shellcheck shell=bash disable=SC2034,SC2154
allowed=(quote.status=ok evaluation=compliant "summary=$all_ok")
serve sha256
peer_client "an AK that nobody enrolled" isolate
gatehouse device trust "$rsa_id"
peer_client "first session of a trusted AK, no baseline yet" isolate --want quote.status=ok --want findings~baseline
peer_client "another assessment, asked for after isolation" isolate --set imc-test.retry=yes \
  --log 'creating PB-TNC CRETRY batch'
peer_client "preferred language German" isolate --set tnc-imc.preferred_language=de,en --log '[de]'
gatehouse device baseline approve "$rsa_id"
peer_client "password, TLS 1.2, RSA AK" allow --log 'negotiated TLS 1.2' --log 'received SASL Success result'
gatehouse device add "$ecc_id" --ak "$work/ak-ecc.pem" --product "$product" --trust
peer_client "first session of an enrolled ECC AK, no baseline yet" isolate ak=ecc --want quote.status=ok \
  --want findings~baseline
gatehouse device baseline approve "$ecc_id"
peer_client "password, TLS 1.3, ECC AK" allow tls=1.3 ak=ecc --log 'negotiated TLS 1.3' \
  --log 'received SASL Success result'
peer_client "ECDSA certificate, TLS 1.2, ECC AK" allow auth=ecdsa ak=ecc
peer_client "ECDSA certificate, TLS 1.3, RSA AK" allow auth=ecdsa tls=1.3
peer_client "RSA certificate, TLS 1.2, RSA AK with certificate" allow auth=rsa ak_certificate="$work/tls/ak-rsa.pem"
peer_client "RSA certificate, TLS 1.3, ECC AK with certificate" allow auth=rsa tls=1.3 ak=ecc \
  ak_certificate="$work/tls/ak-ecc.pem"
peer_client "password, batches of 32 KiB" allow batch=32754
peer_client "password, batches of 2 KiB, RSA AK" allow batch=2048
peer_client "ECDSA certificate, TLS 1.3, batches of 2 KiB, ECC AK" allow auth=ecdsa tls=1.3 ak=ecc batch=2048
peer_client "PCR values with each measurement" allow --set imc-attestation.pcr_info=yes
peer_client "longest nonce" allow --set imc-attestation.nonce_len=255
peer_client "OS collector that waits to be asked" allow --set imc-os.push_info=no
peer_client "mutual mode offered, normal mode held" allow --mutual
peer_client "several collectors of one type, a long message nobody asked for" allow --set imc-test.additional_ids=2 \
  --set imc-test.command=allow --set imc-test.dummy_size=100000
peer_client "wrong password" refused auth=wrong-password --log 'received SASL'
boot changed
peer_client "a changed file, RSA AK" isolate --want quote.status=ok --want "summary=$one_differs" \
  --want findings~/usr/share/perl5/Dpkg/Exit.pm
peer_client "a changed file, ECC AK, TLS 1.3" isolate ak=ecc tls=1.3 auth=ecdsa --want quote.status=ok \
  --want "summary=$one_differs"
boot base
peer_client "the machine as it was, after another boot" allow
cp "$evidence/tampered/binary_runtime_measurements" "$list"
peer_client "a list that was edited after it was measured" isolate --want quote.status=failed
cp "$evidence/base/binary_runtime_measurements" "$list"
stop_serving
# The peer's collectors and validators want the list's file digests in the bank's algorithm; a list of references is of
# SHA-256 only.
boot base384
serve sha384 bank=sha384
gatehouse device add "$rsa_id" --ak "$work/ak-rsa.pem" --product "$product" --trust
peer_client "SHA-384, first session, no baseline yet" isolate --want quote.status=ok --want findings~baseline
gatehouse device baseline approve "$rsa_id"
allowed=(quote.status=ok evaluation=compliant "summary=$no_references")
peer_client "SHA-384" allow --log 'selected PTS measurement algorithm is HASH_SHA2_384'
stop_serving
allowed=()
boot base
