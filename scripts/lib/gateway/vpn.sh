# Sourced by who wants a VPN: strongSwan as a gateway and as an endpoint, by the recipes in docs/gateways/strongswan-*. Wants logs,
# charon, swanctl, imc_os and imc_attestation (lib/interop/peer.sh), vpn (a folder of ours), vpn_secret, vpn_password, and the
# endpoint's TPM on port 2321 of its loopback interface.
# shellcheck shell=bash disable=SC2034,SC2154
declare -A charons=()
# Whether this kernel knows ESP, or strongSwan has to encrypt by itself.
kernel_has_esp() {  # HOST
  local state=(src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000)
  on "$1" ip xfrm state add "${state[@]}" mode tunnel aead 'rfc4106(gcm(aes))' "0x$(printf '%072d' 0)" 128 2>/dev/null &&
    on "$1" ip xfrm state delete "${state[@]}"
}
esp=kernel-netlink
choose_esp() {  # HOST: fails where neither can be had
  kernel_has_esp "$1" && return 0
  esp='kernel-libipsec kernel-netlink'
  [ -e "$(dirname "$imc_os")/../plugins/libstrongswan-kernel-libipsec.so" ] && [ -c /dev/net/tun ]
}
# What the kernel of NAME tells of firmware and files, at the usual paths, which is where its collectors look.
kernel_tells() {  # NAME EVENTLOG LIST
  local securityfs=$vpn/$1/securityfs
  cp "$2" "$securityfs/tpm0/binary_bios_measurements"
  cp "$3" "$securityfs/ima/binary_runtime_measurements"
}

# configure_charon NAME gateway|endpoint: $vpn/NAME, by that recipe with this run's secrets and paths; certificates and keys are the
# caller's to add.
configure_charon() {
  local file to=$vpn/$1 tcti
  mkdir -p "$to"/{x509,x509ca,private,tcti,securityfs/tpm0,securityfs/ima}
  for file in "$root/docs/gateways/strongswan-$2"/*; do
    sed -e "s|VPN_SECRET|$vpn_secret|; s|PASSWORD|$vpn_password|; s|kernel-netlink|$esp|; s|/etc/tnc_config|$to/tnc_config|" \
      -e "s|name = device|name = mssim|; s|/dev/tpmrm0|\"host=127.0.0.1,port=2321\"|" \
      -e "s|/usr/lib/ipsec/imcvs/imc-os.so|$imc_os|; s|/usr/lib/ipsec/imcvs/imc-attestation.so|$imc_attestation|" \
      "$file" >"$to/$(basename "$file")"
  done
  # A log of its own, and no threads that only cost memory here.
  printf 'charon {\n  filelog {\n    ours {\n      path = %s\n      default = 1\n      tnc = 2\n      imc = 2\n      flush_line = yes\n    }\n  }\n}\n' \
    "$logs/charon-$1.log" >>"$to/strongswan.conf"
  # The TPM library of the collectors takes few names of TCTIs, and finds swtpm's under one of them.
  tcti=$(ldconfig -p | awk '/libtss2-tcti-swtpm\.so\.0 / && !seen++ {print $NF}')
  ln -sf "$tcti" "$to/tcti/libtss2-tcti-mssim.so.0"
}
# start_charon HOST NAME: with a /run of its own, since it keeps a process id and a socket there.
start_charon() {
  # shellcheck disable=SC2016
  nsenter "$(net "$1")" unshare --mount bash -c '
    set -e
    mount -t tmpfs none /run
    [ -d /sys/kernel/security ] || { mount -t tmpfs none /sys/kernel; mkdir /sys/kernel/security; }
    mount --bind "$0" /sys/kernel/security
    exec "$@"' "$vpn/$2/securityfs" env "STRONGSWAN_CONF=$vpn/$2/strongswan.conf" "LD_LIBRARY_PATH=$vpn/$2/tcti" "$charon" >>"$logs/charon.log" 2>&1 &
  charons[$2]=$!
  await "${charons[$2]}" swanctl_at "$2" --stats >/dev/null && swanctl_at "$2" --load-all >>"$logs/swanctl.log" 2>&1
}
swanctl_at() {  # NAME arguments
  nsenter -t "${charons[$1]}" --mount --net env "STRONGSWAN_CONF=$vpn/$1/strongswan.conf" "SWANCTL_DIR=$vpn/$1" "$swanctl" "${@:2}"
}
stop_charon() {  # NAME…
  local name
  for name in "$@"; do
    [ -n "${charons[$name]:-}" ] || continue
    kill "${charons[$name]}" 2>/dev/null || true
    wait "${charons[$name]}" 2>/dev/null || true
    unset "charons[$name]"
  done
}
# connect_vpn NAME LOG: whether there is a tunnel.
connect_vpn() { swanctl_at "$1" --initiate --child home --timeout 120 >>"$2" 2>&1; }
disconnect_vpn() { swanctl_at "$1" --terminate --ike home --timeout 20 >>"$logs/swanctl.log" 2>&1 || true; }  # NAME
