#!/usr/bin/env bash
# See that what the tests need beside Python is there: OpenGL without a display for VTK and Qt,
# and a browser for the report.  Installs it when root on Debian or Ubuntu, else names it.
# Never fails: tests that need a missing piece are skipped and say so.
set -euo pipefail

[[ $(uname -s) == Linux ]] || exit 0

libraries=$({ ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null || true)
packages=()

need_library() {
  [[ $libraries == *"$1"* ]] || packages+=("${@:2}")
}

need_library libEGL.so.1 libegl1 libegl-mesa0 libgl1-mesa-dri
need_library libGL.so.1 libgl1
need_library libxkbcommon.so.0 libxkbcommon0
need_library libfontconfig.so.1 libfontconfig1
need_library libdbus-1.so.3 libdbus-1-3
if ! command -v chromium chromium-browser google-chrome >/dev/null; then
  packages+=(chromium)
fi
[[ ${#packages[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
  echo "Installing system packages: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq </dev/null &&
    apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null; then
    exit 0
  fi
fi
echo "Missing for the rendering and browser tests: ${packages[*]} (Debian package names)." >&2
echo "Install them with: sudo apt-get install ${packages[*]}" >&2
