# Sourced by scripts/lib/gateway/run.sh: the server that all parts speak with, the endpoint's TPM and lists, certificates, and
# how conversations are judged.
# shellcheck shell=bash disable=SC2034,SC2154
logs=$root/build/interop-gateway
rm -rf "$logs"
mkdir -p "$logs"
recipes=$root/docs/gateways
evidence=$root/tests/data/interop/evidence
data=(python3 scripts/lib/interop_data.py)
product='Debian 12 x86_64'
tcti=swtpm:host=127.0.0.1,port=2321
eventlog=$evidence/base/binary_bios_measurements
. "$root/scripts/lib/judging.sh"
# A packet from NAME: complains where it isn't so. Bridges and tunnels may take a moment.
arrives() {  # NAME ADDRESS WHERE
  local n
  for n in 1 2 3 4 5; do ! reaches "$1" "$2" || return 0; done
  echo "no packet gets to $3 ($2)"
}
stays_out() { ! reaches "$1" "$2" || echo "a packet gets to $3 ($2)"; }

# --- certificates, secrets, references ------------------------------------------------------------------------------
mkdir -p "$work/tls" "$work/tpm"
make_certificates() (
  cd "$work/tls"
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj "/O=Gatehouse interop/CN=ca" -days 2 -out ca.pem \
    -addext keyUsage=critical,keyCertSign,cRLSign
  printf '%s\n' basicConstraints=CA:false extendedKeyUsage=serverAuth \
    subjectAltName=DNS:pdp.example.org,IP:10.84.0.2,IP:10.83.0.2 >server.ext
  printf '%s\n' basicConstraints=CA:false extendedKeyUsage=clientAuth \
    subjectAltName=DNS:endpoint.example.org >endpoint.ext
  printf '%s\n' basicConstraints=CA:false extendedKeyUsage=serverAuth subjectAltName=DNS:vpn.example.org >vpn.ext
  for name in server endpoint vpn; do
    openssl ecparam -name prime256v1 -genkey -noout -out $name.key
    openssl req -new -key $name.key -subj "/O=Gatehouse interop/CN=$name" -out $name.csr
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
  done
)
quietly certificates.log make_certificates
umask 077
password=$(openssl rand -hex 8)
for name in switch proxy gateways vpn; do openssl rand -hex 16 >"$work/$name.secret"; done
printf 'gatehouse-passwords 1\ncarol\tpassword\t%s\n' "$password" >"$work/eap.passwords"
echo "$password" >"$work/carol.secret"
"$bin/gatehouse" user add carol --users "$work/users.db" --password-file "$work/carol.secret" >/dev/null
umask 022
# As a recipe says it, with this run's secrets and paths.
recipe() {  # FILE
  sed -e "s|SWITCH_SECRET|$(cat "$work/switch.secret")|; s|PROXY_SECRET|$(cat "$work/proxy.secret")|" \
    -e "s|GATEWAYS_SECRET|$(cat "$work/gateways.secret")|; s|VPN_SECRET|$(cat "$work/vpn.secret")|" \
    -e "s|PASSWORD|$password|; s|/etc/hostapd/|$work/|; s|/etc/gatehouse/|$work/tls/|; s|/var/log/freeradius|$work|" \
    -e "s|/run/freeradius|$work|" "$recipes/$1"
}
"${data[@]}" references "$evidence/base/refs.tsv" "$work/references"
quietly gatehouse.log "$bin/gatehouse" refdb ingest --refdb "$work/refdb" --product "$product" --hash sha256 \
  "sha256sums:$work/references"

# --- the endpoint: its TPM listens on the loopback interface of this host -------------------------------------------
tpm_pid='' tpm_host=''
boot() {  # evidence folder
  if [ -n "$tpm_pid" ]; then
    kill "$tpm_pid" 2>/dev/null || true
    wait "$tpm_pid" || true
  fi
  nsenter "$(net "$tpm_host")" swtpm socket --tpm2 --tpmstate "dir=$work/tpm" \
    --server type=tcp,port=2321,bindaddr=127.0.0.1 --ctrl type=tcp,port=2322,bindaddr=127.0.0.1 \
    --flags not-need-init >>"$logs/swtpm.log" 2>&1 &
  tpm_pid=$!
  await "$tpm_pid" on "$tpm_host" bash -c 'exec 9<>/dev/tcp/127.0.0.1/2322' || environment "swtpm: $logs/swtpm.log"
  list=$evidence/$1/binary_runtime_measurements
  quietly tpm.log on "$tpm_host" "$bin/gatehouse-tpm-extend" --tcti "$tcti" --startup-locality 3 --eventlog "$eventlog" \
    --ima "$list"
}
attest() {  # arguments of gatehouse-endpoint attest: its exit code; what it prints is in $work/endpoint.json
  on "$tpm_host" "$bin/gatehouse-endpoint" attest --ca "$work/tls/ca.pem" --tcti "$tcti" --ak 0x81010002 \
    --eventlog "$eventlog" --ima "$list" --os-name Debian --os-version '12 x86_64' --imc os,attestation --json "$@" \
    >"$work/endpoint.json" 2>>"$logs/endpoint.log"
}
attests() {  # EXPECTED, what RADIUS says besides or "", arguments: complains
  local code=0 wanted=$1 told=$2 got
  shift 2
  attest "$@" || code=$?
  got=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["recommendation"])' "$work/endpoint.json" 2>&1 | tail -n 1)
  [ "$got" = "$wanted" ] || echo "gatehouse-endpoint got $got, expected $wanted (exit code $code): $logs/endpoint.log"
  [ -z "$told" ] || grep -qF -- "$told" "$work/endpoint.json" || echo "RADIUS doesn't say: $told: $(cat "$work/endpoint.json")"
}

# --- servers --------------------------------------------------------------------------------------------------------
declare -A server_pids=()
# serve HOST NAME ADDRESS [TOML]: gatehouse serve with a state of its own, and this in its configuration besides.
serve() {
  mkdir -m 700 -p "$work/$2"
  sed -e "s|\"state\"|\"$2\"|; s|10\.84\.0\.2:181|$3:181|; s|^\[radius\]|&\nreferral = \"pdp.interop:271\"|" "$recipes/gatehouse.toml" >"$work/$2.toml"
  printf '%s\n' "${4:-}" >>"$work/$2.toml"
  printf '[policy]\nunknown_devices = "block"\n[groups.all]\nask = [{ type = "TPMRA", on_fail = "isolate", on_noresult = "block" }]\n' \
    >"$work/policy.toml"
  nsenter "$(net "$1")" "$bin/gatehouse" serve --config "$work/$2.toml" 2>"$logs/$2.log" &
  server_pids[$2]=$!
  await "${server_pids[$2]}" grep -q 'RADIUS listening' "$logs/$2.log" || environment "gatehouse serve: $logs/$2.log"
}
gatehouse_of() {  # NAME arguments
  local name=$1
  shift
  quietly gatehouse.log "$bin/gatehouse" "$@" --config "$work/$name.toml"
}
recorded() { "$bin/gatehouse" session list --last 100 --json --config "$work/$1.toml"; }  # NAME
stop_serving() {  # NAME
  local code=0
  kill "${server_pids[$1]}"
  wait "${server_pids[$1]}" || code=$?
  judge "$1: gatehouse serve ends with exit code 0" "$([ $code -eq 0 ] || echo "exit code $code")"
}
provisioned=''
provision() {
  [ -z "$provisioned" ] || return 0
  quietly tpm.log on "$tpm_host" "$bin/gatehouse-endpoint" provision --tcti "$tcti" --handle 0x81010002 --pem "$work/ak.pem"
  device=$(openssl pkey -pubin -in "$work/ak.pem" -outform DER | openssl sha1 -r | cut -d' ' -f1)
  provisioned=1
}
# The device enrolled, and its firmware known: the first attestation proposes the baseline.
enrol() {  # NAME, arguments of attest
  local name=$1
  shift
  gatehouse_of "$name" device add "$device" --ak "$work/ak.pem" --product "$product" --trust \
    --identity 'CN=endpoint,O=Gatehouse interop' --identity carol
  attest "$@" || true
  gatehouse_of "$name" device baseline approve "$device"
}
background=()
end_background() {
  local pid
  for pid in "${background[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${background[@]}"; do wait "$pid" 2>/dev/null || true; done
  background=()
}
forget_hosts() {  # NAME…: before the next part
  local name
  for name in "$@"; do ip netns delete "$name"; done
}
