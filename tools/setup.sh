#!/usr/bin/env bash
# Installs what building (and, with "test", testing) needs, on Debian 12 and Ubuntu 22.04/24.04; nothing where all is
# there.
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config libspdlog-dev libfmt-dev nlohmann-json3-dev libcli11-dev libstb-dev
  libpcre2-dev libutf8proc-dev libjpeg-dev libxxhash-dev)
if [[ ${1:-} == test ]]; then
  # The formatter by its version: others lay lines out differently.
  packages+=(libgtest-dev clang-format-14 clang-tidy-14 python3 git)
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "galago: no apt on this system; install the equivalents of: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "galago: neither root nor sudo; have an administrator install: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
  >"$log" 2>&1; then
  cat "$log" >&2
  echo "galago: apt could not install ${missing[*]}" >&2
  exit 1
fi
