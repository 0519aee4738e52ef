# Sourced by scripts/interop.sh inside its namespaces: the endpoint's machine (a TPM, the kernel's lists, packages), and
# how conversations are judged.
# shellcheck shell=bash disable=SC2034,SC2154
work=$GATEHOUSE_INTEROP_WORK
# Process 1 of these namespaces: when it ends, all else does. It ends, too, when the process outside does.
trap 'exit 130' INT TERM HUP
(read -r _ <"$work/lifeline" || true; kill -TERM 1; kill -KILL -- -1) &
logs=$root/build/interop
evidence=$root/tests/data/interop/evidence
data=(python3 scripts/lib/interop_data.py)
product='Debian 12 x86_64'
summary() { echo "processed 1732 IMA file evidence measurements: $1; 136 BIOS evidence measurements are ok"; }
all_ok=$(summary '1625 ok, 107 unknown, 0 differ, 0 failed')
no_references=$(summary '0 ok, 1732 unknown, 0 differ, 0 failed')
one_differs=$(summary '1624 ok, 107 unknown, 1 differ, 0 failed')
tcti=swtpm:host=127.0.0.1,port=2321
rsa_handle=0x81010002 ecc_handle=0x81010003
pdp_port=2710
secret=$(openssl rand -hex 12)
rm -rf "$logs"
mkdir -p "$logs"
. "$root/scripts/lib/wait.sh"
. "$root/scripts/lib/judging.sh"

"${data[@]}" up
mount -t tmpfs none /run
if [ -d /sys/kernel/security ]; then
  mount -t tmpfs none /sys/kernel/security
else
  mount -t tmpfs none /sys/kernel
fi
mkdir -p /sys/kernel/security/tpm0 /sys/kernel/security/ima

# --- the endpoint: a TPM and the kernel's lists, which strongSwan's client reads at their usual paths ---------------
tpm_pid=''
eventlog=/sys/kernel/security/tpm0/binary_bios_measurements
list=/sys/kernel/security/ima/binary_runtime_measurements
boot() {  # evidence folder: the machine starts with its lists, which the PCRs then agree with
  if [ -n "$tpm_pid" ]; then
    kill "$tpm_pid" 2>/dev/null || true
    wait "$tpm_pid" 2>/dev/null || true
  fi
  swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --server type=tcp,port=2321,bindaddr=127.0.0.1 \
    --ctrl type=tcp,port=2322,bindaddr=127.0.0.1 --flags not-need-init >>"$logs/swtpm.log" 2>&1 &
  tpm_pid=$!
  await "$tpm_pid" listening 2322 || environment "swtpm didn't start: $logs/swtpm.log"
  cp "$evidence/base/binary_bios_measurements" "$eventlog"
  cp "$evidence/$1/binary_runtime_measurements" "$list"
  quietly tpm.log "$bin/gatehouse-tpm-extend" --tcti "$tcti" --startup-locality 3 --eventlog "$eventlog" --ima "$list"
}
mkdir -p "$work/tpm" "$work/tls" "$work/tcti"
boot base
# The client's TPM library takes few names of TCTIs, and finds swtpm's under one of them.
swtpm_tcti=$(ldconfig -p | awk '/libtss2-tcti-swtpm\.so\.0 / && !seen++ {print $NF}')
ln -s "$swtpm_tcti" "$work/tcti/libtss2-tcti-mssim.so.0"
for kind in rsa ecc; do
  handle=${kind}_handle
  quietly tpm.log "$bin/gatehouse-endpoint" provision --tcti "$tcti" --algorithm $kind --handle "${!handle}" \
    --pem "$work/ak-$kind.pem"
done
keyid() { openssl pkey -pubin -in "$work/ak-$1.pem" -outform DER | openssl sha1 -r | cut -d' ' -f1; }
rsa_id=$(keyid rsa) ecc_id=$(keyid ecc)

# --- certificates: one CA for server and clients, one for AKs -------------------------------------------------------
make_certificates() (
  cd "$work/tls"
  local name
  for name in ca ak-ca; do
    openssl ecparam -name prime256v1 -genkey -noout -out $name.key
    openssl req -x509 -new -key $name.key -subj "/O=Gatehouse interop/CN=$name" -days 2 -out $name.pem \
      -addext keyUsage=critical,keyCertSign,cRLSign
  done
  openssl ecparam -name prime256v1 -genkey -noout -out server.key
  openssl ecparam -name prime256v1 -genkey -noout -out endpoint-ecdsa.key
  openssl genrsa -out endpoint-rsa.key 2048
  printf '%s\n' basicConstraints=CA:false extendedKeyUsage=serverAuth \
    subjectAltName=DNS:localhost,IP:127.0.0.1 >server.ext
  printf '%s\n' basicConstraints=CA:false extendedKeyUsage=clientAuth \
    subjectAltName=DNS:endpoint.example.org >endpoint.ext
  openssl genrsa -out server-rsa.key 2048
  for name in server server-rsa endpoint-ecdsa endpoint-rsa; do
    openssl req -new -key $name.key -subj "/O=Gatehouse interop/CN=$name" -out $name.csr
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ${name%-*}.ext \
      -out $name.pem
  done
  printf 'basicConstraints=CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=2.23.133.8.3\n' >ak.ext
  for name in rsa ecc; do
    openssl x509 -req -in server.csr -force_pubkey "$work/ak-$name.pem" -subj "/O=Gatehouse interop/CN=AK $name" \
      -CA ak-ca.pem -CAkey ak-ca.key -CAcreateserial -days 2 -extfile ak.ext -out ak-$name.pem
  done
)
quietly certificates.log make_certificates

# --- judging --------------------------------------------------------------------------------------------------------
