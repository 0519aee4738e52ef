# Sourced by scripts/demo.sh: builds the programs, chooses files of this machine that stand for an endpoint's, and takes
# references for them from their packages. Wants work (build/demo) and bin (empty: built); sets bin and product.
# shellcheck shell=bash disable=SC2034,SC2154
if [ -z "$bin" ]; then
  bin=$root/build/demo-build/bin
  say "building gatehouse and gatehouse-endpoint (the longest step)"
  mkdir -p build
  cmake --preset demo -B build/demo-build >build/demo-configure.log 2>&1 || { cat build/demo-configure.log; exit 4; }
  cmake --build build/demo-build -j "$jobs" --target gatehouse gatehouse-endpoint gatehouse-tpm-extend
fi

say "choosing executables and libraries of this machine, with their Debian packages"
mkdir -p "$work/packages"
python3 scripts/lib/demo_evidence.py choose --work "$work"

say "downloading the packages at their installed versions"
(
  cd "$work/packages"
  while IFS= read -r package; do
    name=${package%%[:=]*} version=${package#*=}
    have=$(compgen -G "${name}_${version//:/%3a}_*.deb" || true)
    [ -n "$have" ] || echo "$package"
  done <"$work/packages.list" >"$work/to-download.list"
  if [ -s "$work/to-download.list" ]; then
    echo "$(wc -l <"$work/to-download.list") to download"
    xargs -r apt-get download -q -o APT::Sandbox::User=root <"$work/to-download.list" >"$work/download.log" 2>&1 ||
      { tail -n 5 "$work/download.log" >&2; exit 4; }
  fi
) || fail "the packages can't be downloaded"
du -sh "$work/packages"

say "taking reference hashes from the packages"
product=$(. /etc/os-release && echo "${ID^} $VERSION_ID $(uname -m)")
rm -rf "${work:?}/refdb"
"$bin/gatehouse" refdb ingest --refdb "$work/refdb" --product "$product" --json "$work/packages" >"$work/ingest.json"
"$bin/gatehouse" refdb stats --refdb "$work/refdb"
