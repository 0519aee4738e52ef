#!/usr/bin/env bash
# Builds the Debian packages of the server and of the endpoint into build/packages/: scripts/package.sh
. "$(dirname "$0")/lib/packages.sh"
case ${1:-} in
  "") ;;
  -h|--help) sed -n '2s/^# //p' "$0"; exit 0;;
  *) echo "usage: scripts/package.sh" >&2; exit 2;;
esac
# shellcheck disable=SC2086
install_packages $build_packages $package_packages
cd "$root"
say "building"
mkdir -p build
cmake --preset package >build/package.log 2>&1 || { cat build/package.log; exit 4; }
cmake --build build/package -j "$jobs"
say "packing"
rm -rf build/packages
cpack --config build/package/CPackConfig.cmake -G DEB -B build/packages
rm -rf build/packages/_CPack_Packages
for package in build/packages/*.deb; do
  say "$package"
  dpkg-deb --field "$package" Package Version Architecture Installed-Size Depends
done
