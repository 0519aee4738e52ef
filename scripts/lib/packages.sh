# Sourced by the scripts: where the tree is, which Debian 12 packages each job needs, and how they get installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
jobs=$(nproc)

build_packages="g++ cmake ninja-build pkg-config libssl-dev libtbb-dev librocksdb-dev libboost1.81-dev
  libboost-json1.81-dev libcli11-dev libtomlplusplus-dev libspdlog-dev libfmt-dev libarchive-dev
  zlib1g-dev libbz2-dev liblzma-dev libzstd-dev liblz4-dev libcurl4-openssl-dev libseccomp-dev libsqlite3-dev libtss2-dev ca-certificates"
package_packages="python3 dpkg-dev file"
demo_packages="python3 openssl swtpm"
gateway_packages="iproute2 nftables iputils-ping util-linux"  # of scripts/demo.sh --gateway
test_packages="lld python3 openssl swtpm libgtest-dev libgmock-dev dpkg-dev xz-utils gpgv gnupg rpm createrepo-c systemd
  eapoltest freeradius-utils"
interop_gateway_packages="$gateway_packages python3 openssl swtpm libtss2-tcti-swtpm0"  # and what each part needs
fuzz_packages="clang-19 libclang-rt-19-dev"
bench_packages="libbenchmark-dev libgtest-dev libgmock-dev python3"
ingest_bench_packages="rpm gpgv gnupg"
ingest_test_packages="python3 gpgv debian-archive-keyring"

say() { printf '\n== %s\n' "$*"; }

# Installs what is missing of the named packages; asks nothing, and needs no network when nothing is missing.
install_packages() {
  local missing=() package sudo=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The same for packages of servers, which Debian would start, now and at each boot: ours are started by who needs them, where
# nobody else sees them. What can't be installed is for the caller to find out.
install_without_starting() (
  policy=/usr/sbin/policy-rc.d sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  enabled() { systemctl list-unit-files --state=enabled --no-legend --plain 2>/dev/null | cut -d ' ' -f 1 | sort || true; }
  before=$(enabled)
  trap 'exit 130' INT TERM HUP
  if [ ! -e $policy ]; then
    trap '"${sudo[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" install -m 755 /dev/stdin $policy
  fi
  (install_packages "$@") || echo "note: not all of $* could be installed" >&2
  for unit in $(comm -13 <(echo "$before") <(enabled)); do "${sudo[@]}" systemctl disable --quiet "$unit" || true; done
)
