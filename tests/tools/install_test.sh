#!/usr/bin/env bash
# Installs the build to a folder of its own, builds a small program against the package and captions a picture with it.
# Usage: install_test.sh BUILD_FOLDER COMPILER SANITIZERS
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
goldens=$here/../goldens
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$1" --prefix "$work/prefix" >/dev/null
cmake -S "$here/consumer" -B "$work/build" -G Ninja -DCMAKE_CXX_COMPILER="$2" -DCMAKE_PREFIX_PATH="$work/prefix" \
  ${3:+"-DCMAKE_CXX_FLAGS=-fsanitize=$3"} >/dev/null
cmake --build "$work/build" >/dev/null
"$work/build/consumer" "$goldens/llava-1.5" "$goldens/images/wide.jpg" >"$work/consumer.txt"
"$work/prefix/bin/galago" caption --quiet --max-new-tokens 8 -m "$goldens/llava-1.5" "$goldens/images/wide.jpg" \
  >"$work/galago.txt"
[[ -s $work/consumer.txt ]]
cmp "$work/consumer.txt" "$work/galago.txt"
