#!/usr/bin/env bash
# Conversations with an installed strongSwan, held live on loopback with a software TPM, and each judged by both sides:
# its pt-tls-client (all its collectors) by gatehouse serve, and gatehouse-endpoint by its policy decision point.
#   scripts/interop.sh [--peer PREFIX] [--bin DIR]  PREFIX: strongSwan's (default: /opt/strongswan, /usr/local or /usr)
#                                                   DIR: our programs' (default: build/release/bin, built when absent)
#   scripts/interop.sh --find [--peer PREFIX]       only says what is there and what is missing
#   scripts/interop.sh gateway …                    the same through a gateway: not in this version
# Prints one PASS or FAIL line a conversation. Exit code 0: all passed; 1: one failed; 4: no complete strongSwan, or the
# machine lacks something. Needs root (namespaces of its own: nothing listens outside, nothing stays behind). Leaves
# build/interop/ with the logs; keys and stores are gone when it ends.
. "$(dirname "$0")/lib/packages.sh"
usage() { echo "usage: scripts/interop.sh [--find] [--peer PREFIX] [--bin DIR] | gateway" >&2; exit 2; }
peer='' bin='' find=''
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0;;
    gateway) echo "interop: conversations through a gateway belong to a later version" >&2; exit 4;;
    --find) find=1;;
    --peer) [ $# -gt 1 ] || usage; peer=$(realpath -m "$2"); shift;;
    --bin) [ $# -gt 1 ] || usage; bin=$(realpath -m "$2"); shift;;
    *) usage;;
  esac
  shift
done

# --- the peer: every part by name, so that what is missing can be said ----------------------------------------------
missing=()
need() {  # VARIABLE, name, path patterns below the prefix: the first file that is there, else it is missing
  local -n slot=$1
  local name=$2 pattern path
  shift 2
  for pattern in "$@"; do
    for path in "$peer"/$pattern; do
      [ ! -e "$path" ] || { slot=$path; return 0; }
    done
  done
  missing+=("$name ($peer/$1)")
}
need_library() { need "$1" "$2" "lib/ipsec/$3" "lib/*/ipsec/$3"; }
find_peer() {
  local collector validator plugin found
  missing=() client='' charon=''
  need client pt-tls-client bin/pt-tls-client sbin/pt-tls-client libexec/ipsec/pt-tls-client lib/ipsec/pt-tls-client
  need charon charon libexec/ipsec/charon lib/ipsec/charon
  need swanctl swanctl sbin/swanctl bin/swanctl
  need policy_manager imv_policy_manager libexec/ipsec/imv_policy_manager lib/ipsec/imv_policy_manager
  need schema 'the policy database schema' share/strongswan/templates/database/imv/tables.sql
  for collector in os swima attestation scanner test; do
    need_library "imc_$collector" "imc-$collector" "imcvs/imc-$collector.so"
  done
  for validator in os swima attestation scanner; do
    need_library "imv_$validator" "imv-$validator" "imcvs/imv-$validator.so"
  done
  for plugin in tnccs-20 tnc-tnccs tnc-imc tnc-imv tnc-pdp openssl sqlite vici; do
    need_library found "plug-in $plugin" "plugins/libstrongswan-$plugin.so"
  done
  [ ${#missing[@]} -eq 0 ]
}
if [ -n "$peer" ]; then
  candidates=("$peer")
else
  candidates=(/opt/strongswan /usr/local /usr)
fi
for peer in "${candidates[@]}"; do
  find_peer && break
  [ -z "$client$charon" ] || break  # this is the one, but incomplete
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ -n "$client$charon" ] || [ ${#candidates[@]} -eq 1 ]; then
    echo "interop: strongSwan below $peer lacks:" >&2
    printf '  %s\n' "${missing[@]}" >&2
  else
    echo "interop: no strongSwan with TNC below ${candidates[*]}; name its prefix with --peer" >&2
  fi
  exit 4
fi
[ -z "$find" ] || { echo "strongSwan below $peer is complete: $client, $charon"; exit 0; }

cd "$root"
if [ -z "${GATEHOUSE_INTEROP_WORK:-}" ]; then
  # --- outside: packages, programs, and namespaces in which everything runs and with which everything ends -----------
  install_packages python3 openssl swtpm libtss2-tcti-swtpm0 util-linux
  if [ -z "$bin" ]; then
    bin=$root/build/release/bin
    for program in gatehouse gatehouse-endpoint gatehouse-tpm-extend; do
      [ -x "$bin/$program" ] || { scripts/build.sh release; break; }
    done
  fi
  for program in gatehouse gatehouse-endpoint gatehouse-tpm-extend; do
    [ -x "$bin/$program" ] || { echo "interop: $bin/$program is missing" >&2; exit 4; }
  done
  mkdir -p build/interop
  work=$(mktemp -d)
  as_root=(sudo)
  [ "$(id -u)" -ne 0 ] || as_root=()
  namespaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)
  mkfifo "$work/lifeline"
  exec 7<>"$work/lifeline"
  pid=''
  clean_up() {
    trap - EXIT
    exec 7>&-  # which ends everything inside
    [ -z "$pid" ] || wait "$pid" || true
    "${as_root[@]}" rm -rf "$work"
  }
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  "${as_root[@]}" "${namespaces[@]}" true ||
    { echo "interop: needs root, and a kernel that grants mount, network and process namespaces" >&2; exit 4; }
  "${as_root[@]}" env "GATEHOUSE_INTEROP_WORK=$work" "${namespaces[@]}" \
    "$root/scripts/interop.sh" --peer "$peer" --bin "$bin" 7>&- &
  pid=$!
  code=0
  wait "$pid" || code=$?
  pid=''
  exit "$code"
fi

# --- inside: loopback is ours alone, so ports are fixed -------------------------------------------------------------
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
environment() { echo "interop: $*" >&2; exit 4; }
quietly() {  # LOG COMMAND...
  local log=$logs/$1
  shift
  "$@" >>"$log" 2>&1 || { tail -n 5 "$log" >&2; environment "$1 failed: $log"; }
}
await() {  # until COMMAND succeeds; at most 20 s; fails when PID has ended
  local pid=$1 n=0
  shift
  until "$@" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || return 1
    n=$((n + 1))
    [ $n -lt 200 ] || return 1
    read -rt 0.1 <> <(:) || true
  done
}
listening() { (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
field() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

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
  for name in server endpoint-ecdsa endpoint-rsa; do
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
passed=0 failed=0
judge() {  # NAME, complaints (none: passed)
  if [ -z "$2" ]; then
    passed=$((passed + 1))
    echo "PASS  $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1"
    printf '%s\n' "$2" | sed 's/^/        /'
  fi
}
lacks() {  # LOG, TEXT...: a complaint for each text that the log doesn't have
  local log=$1 text
  shift
  for text in "$@"; do grep -qF -- "$text" "$log" || echo "${log#"$root"/} lacks: $text"; done
}

# --- 1. strongSwan's client, our server -----------------------------------------------------------------------------
printf '%s\n' "$secret" >"$work/password"
quietly gatehouse.log "$bin/gatehouse" user add host1 --users "$work/users.db" --password-file "$work/password"
"${data[@]}" references "$evidence/base/refs.tsv" "$work/references"
quietly gatehouse.log "$bin/gatehouse" refdb ingest --refdb "$work/refdb" --product "$product" --hash sha256 \
  "sha256sums:$work/references"
server_pid=''
serve() {  # NAME: a server with a state of its own and the PCR bank NAME
  mkdir -m 700 "$work/state-$1"
  cat >"$work/gatehouse.toml" <<TOML
[pt_tls]
listen = ["127.0.0.1:271"]
certificate = "tls/server.pem"
key = "tls/server.key"
client_ca = "tls/ca.pem"
users = "users.db"
[refdb]
path = "refdb"
[state]
path = "state-$1"
[attestation]
banks = ["$1"]
ak_ca = "tls/ak-ca.pem"
TOML
  "$bin/gatehouse" serve --config "$work/gatehouse.toml" 2>"$logs/gatehouse-$1.log" &
  server_pid=$!
  await "$server_pid" listening 271 || environment "gatehouse serve didn't start: $logs/gatehouse-$1.log"
}
stop_serving() {
  local code=0
  kill "$server_pid"
  wait "$server_pid" || code=$?
  judge "gatehouse serve ends with exit code 0" "$([ $code -eq 0 ] || echo "exit code $code")"
}
gatehouse() { quietly gatehouse.log "$bin/gatehouse" "$@" --config "$work/gatehouse.toml"; }
last_session() { "$bin/gatehouse" session list --last 1 --json --config "$work/gatehouse.toml"; }

client_configuration() {  # TLS version, AK, its certificate or "", batch size, [plug-in setting…]
  local id=${2}_id handle=${2}_handle plugins=(tpm.tcti.name=mssim tpm.tcti.opts=host=127.0.0.1,port=2321)
  plugins+=("imc-os.device_id=${!id}" "imc-attestation.aik_handle=${!handle}" ${3:+"imc-attestation.aik_cert=$3"})
  plugins+=("tnccs-20.max_batch_size=$4" "tnccs-20.max_message_size=$(($4 - 32))" "${@:5}")
  "${data[@]}" configuration "libtls.version_max=$1" "libtnccs.tnc_config=$work/tnc_config" \
    "${plugins[@]/#/pt-tls-client.plugins.}"
}
for collector in os swima attestation scanner test; do
  path=imc_$collector
  printf 'IMC "%s" %s\n' "$collector" "${!path}"
done >"$work/tnc_config"

# peer_client NAME EXPECTED [WORD…]: a conversation, and the verdict on it. EXPECTED: allow, isolate, closed (ended by
# an error, which is recorded) or refused (no session at all). Words: tls=, auth=, ak=, ak_certificate=, batch=;
# --want EXPECTATION: of the verdict object, besides; --log TEXT: of the client's log; --set SETTING: of its plug-ins;
# others are the client's own options.
conversations=0
peer_client() {
  local name=$1 expected=$2 tls=1.2 auth=password ak=rsa ak_certificate='' batch=65522
  local settings=() options=() wants=() texts=()
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      tls=*|auth=*|ak=*|ak_certificate=*|batch=*) local "$1";;
      --want) wants+=("$2"); shift;;
      --log) texts+=("$2"); shift;;
      --set) settings+=("$2"); shift;;
      *) options+=("$1");;
    esac
    shift
  done
  conversations=$((conversations + 1))
  local log complaints before
  log=$logs/$(printf 'client-%02d.log' $conversations)
  client_configuration "$tls" "$ak" "$ak_certificate" "$batch" "${settings[@]}" >"$work/client.conf"
  case $auth in
    password) options+=(--client host1 --secret "$secret");;
    wrong-password) options+=(--client host1 --secret "not $secret");;
    ecdsa|rsa)
      options+=(--cert "$work/tls/endpoint-$auth.pem" --key "$work/tls/endpoint-$auth.key" --key-type "$auth");;
  esac
  before=$(last_session)
  STRONGSWAN_CONF=$work/client.conf LD_LIBRARY_PATH=$work/tcti timeout 120 "$client" --connect localhost --port 271 \
    --cert "$work/tls/ca.pem" "${options[@]}" --debug 2 >"$log" 2>&1 || true  # 1 also after allow
  last_session >"$work/session.json"
  complaints=$(
    if [ "$expected" = refused ]; then
      [ "$before" = "$(<"$work/session.json")" ] || echo "a session was recorded"
      ! grep -F 'access recommendation is' "$log" || true
    elif [ "$before" = "$(<"$work/session.json")" ]; then
      echo "no session was recorded"
    else
      case $expected in
        allow) wants+=(recommendation=allow quote.status=ok evaluation=compliant "summary=$all_ok");;
        closed) wants+=(recommendation!=allow evaluation=error);;
        *) wants+=("recommendation=$expected");;
      esac
      "${data[@]}" session "$work/session.json" "${wants[@]}" || true
      case $expected in
        allow)
          lacks "$log" "PB-TNC assessment result is 'compliant'" "PB-TNC access recommendation is 'Access Allowed'";;
        isolate) lacks "$log" "PB-TNC access recommendation is 'Quarantined'";;
        closed) ! grep -F 'access recommendation is' "$log" || true;;
      esac
    fi
    lacks "$log" "${texts[@]}"
  )
  judge "pt-tls-client to gatehouse serve: $name" "$complaints"
}

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
peer_client "PB-TNC version 3" closed --set tnccs-20.tests.pb_tnc_version=3 \
  --log "'Version Not Supported' caused by bad version 0x03"
peer_client "unknown message with NOSKIP" closed --set tnccs-20.tests.pb_tnc_noskip=yes \
  --log 'Unsupported Mandatory Message'
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
serve sha384
gatehouse device add "$rsa_id" --ak "$work/ak-rsa.pem" --product "$product" --trust
peer_client "SHA-384, first session, no baseline yet" isolate --want quote.status=ok --want findings~baseline
gatehouse device baseline approve "$rsa_id"
sha256_ok=$all_ok all_ok=$no_references
peer_client "SHA-384" allow --log 'selected PTS measurement algorithm is HASH_SHA2_384'
stop_serving
all_ok=$sha256_ok
boot base

# --- 2. our endpoint, strongSwan's server ---------------------------------------------------------------------------
mkdir -p "$work/swanctl"/{x509,x509ca,private,rsa,ecdsa,pkcs8} "$work/ak-ca"
cp "$work/tls/server.pem" "$work/swanctl/x509/"
cp "$work/tls/ca.pem" "$work/swanctl/x509ca/"
cp "$work/tls/server.key" "$work/swanctl/private/"
cp "$work/tls/ak-ca.pem" "$work/ak-ca/"
printf 'secrets {\n  eap-host1 {\n    id = host1\n    secret = "%s"\n  }\n}\n' "$secret" >"$work/swanctl/swanctl.conf"
"${data[@]}" database "$(dirname "$schema")" "$evidence/base/refs.tsv" "$work/policy.db" "$rsa_id" "$ecc_id"
for validator in os swima attestation scanner; do
  path=imv_$validator
  printf 'IMV "%s" %s\n' "$validator" "${!path}"
done >"$work/tnc_config"
pdp_pid=''
stop_pdp() {
  [ -n "$pdp_pid" ] || return 0
  kill "$pdp_pid" 2>/dev/null || true
  wait "$pdp_pid" || true
  pdp_pid=''
}
start_pdp() {  # TLS version, measurement algorithm
  stop_pdp
  local plugins=(random nonce x509 constraints pubkey pkcs1 pkcs8 pem openssl sqlite kernel-netlink socket-default)
  plugins+=(tnc-imv tnc-tnccs tnccs-20 tnc-pdp vici)
  local settings=("load=${plugins[*]}"
    "filelog.pdp.path=$logs/pdp.log" filelog.pdp.flush_line=yes filelog.pdp.default=1
    filelog.pdp.tnc=2 filelog.pdp.imv=2 filelog.pdp.pts=2
    "plugins.vici.socket=unix://$work/charon.vici" plugins.tnc-pdp.server=localhost plugins.tnc-pdp.radius.enable=no
    "plugins.tnc-pdp.pt_tls.port=$pdp_port" "tnc.tnc_config=$work/tnc_config")
  settings=("${settings[@]/#/charon.}" "libtls.version_max=$1" "libimcv.database=sqlite://$work/policy.db"
    "libimcv.policy_script=$policy_manager" "libimcv.plugins.imv-attestation.cadir=$work/ak-ca"
    "libimcv.plugins.imv-attestation.hash_algorithm=$2" libimcv.plugins.imv-attestation.dh_group=ecp384)
  "${data[@]}" configuration "${settings[@]}" >"$work/charon.conf"
  STRONGSWAN_CONF=$work/charon.conf "$charon" >>"$logs/charon.log" 2>&1 &
  pdp_pid=$!
  await "$pdp_pid" test -S "$work/charon.vici" || environment "charon didn't start: $logs/charon.log"
  await "$pdp_pid" listening "$pdp_port" || environment "charon doesn't listen for PT-TLS: $logs/pdp.log"
  STRONGSWAN_CONF=$work/charon.conf SWANCTL_DIR=$work/swanctl quietly charon.log \
    "$swanctl" --load-creds --uri "unix://$work/charon.vici"
}

# pdp NAME EXPECTED [WORD…]: as above. EXPECTED: allow, isolate or refused. Words: auth=, ak=; --log TEXT: of the
# server's log; others are gatehouse-endpoint's own options.
pdp() {
  local name=$1 expected=$2 auth=password ak=rsa options=() texts=()
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      auth=*|ak=*) local "$1";;
      --log) texts+=("$2"); shift;;
      *) options+=("$1");;
    esac
    shift
  done
  conversations=$((conversations + 1))
  local log server_log handle=${ak}_handle code=0 complaints start
  log=$logs/$(printf 'endpoint-%02d.log' $conversations) server_log=$logs/$(printf 'pdp-%02d.log' $conversations)
  case $auth in
    password) options+=(--user host1 --password-file "$work/password");;
    wrong-password) options+=(--user host1 --password-file "$work/tls/server.ext");;
    ecdsa|rsa) options+=(--certificate "$work/tls/endpoint-$auth.pem" --key "$work/tls/endpoint-$auth.key");;
  esac
  start=$(wc -l <"$logs/pdp.log")
  "$bin/gatehouse-endpoint" attest --server "localhost:$pdp_port" --ca "$work/tls/ca.pem" --tcti "$tcti" --inventory "$work/inventory" \
    --ak "${!handle}" "${options[@]}" --json >"$work/endpoint.json" 2>"$log" || code=$?
  cat "$work/endpoint.json" >>"$log"
  # The server's last words on a conversation come after our end of it.
  await "$pdp_pid" ended "$start" || true
  tail -n "+$((start + 1))" "$logs/pdp.log" >"$server_log"
  complaints=$(
    case $expected in
      allow)
        [ $code -eq 0 ] || echo "gatehouse-endpoint's exit code is $code: $(tail -n 1 "$log")"
        lacks "$server_log" "final recommendation is 'allow' and evaluation is 'compliant'" "${all_ok%%;*}";;
      isolate)
        [ $code -eq 1 ] || echo "gatehouse-endpoint's exit code is $code: $(tail -n 1 "$log")"
        lacks "$server_log" "final recommendation is 'isolate'";;
      refused)
        [ $code -eq 4 ] || echo "gatehouse-endpoint's exit code is $code: $(tail -n 1 "$log")"
        ! grep -F 'final recommendation is' "$server_log" || true;;
    esac
    lacks "$server_log" "${texts[@]}"
  )
  judge "gatehouse-endpoint to charon: $name" "$complaints"
}
ended() { tail -n "+$(($1 + 1))" "$logs/pdp.log" | grep -qE 'removed TNCCS Connection ID|TLS close notify'; }

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
rm "$work/policy.db"
"${data[@]}" database "$(dirname "$schema")" "$evidence/base384/refs.tsv" "$work/policy.db" "$rsa_id" "$ecc_id"
start_pdp 1.3 sha384
pdp "SHA-384, MODP 2048; the bank's first session registers the firmware" allow "${sha384[@]}" \
  --log 'registered 136 BIOS evidence measurements'
pdp "SHA-384, MODP 2048" allow "${sha384[@]}" --log '136 BIOS evidence measurements are ok' \
  --log 'selected PTS measurement algorithm is HASH_SHA2_384' --log 'selected PTS DH group is MODP_2048'
stop_pdp

echo "$passed passed, $failed failed; logs: $logs"
[ $failed -eq 0 ]
