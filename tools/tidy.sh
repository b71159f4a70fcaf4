#!/usr/bin/env bash
# clang-tidy over the sources that changed: since origin/main, or, where this is main, since the commit before; over
# all of them where there is neither. Usage: tools/tidy.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sources=('src/*.cpp' 'tools/*.cpp' 'kernels/*.cpp')
base=$(git merge-base HEAD origin/main 2>/dev/null || true)
if [[ -z $base || $base == "$(git rev-parse HEAD)" ]]; then
  base=$(git rev-parse --verify --quiet HEAD~1 || true)
fi
if [[ -n $base ]]; then
  changed=$(git diff --name-only --diff-filter=d "$base" -- "${sources[@]}")
else
  changed=$(git ls-files "${sources[@]}")
fi
[[ -n $changed ]] || exit 0
# Generated and per-instruction-set sources have other commands; only what the build knows is checked.
known=$(python3 -c 'import json, os, sys
for entry in json.load(open(sys.argv[1])): print(os.path.relpath(os.path.realpath(entry["file"])))' \
  "$1/compile_commands.json" | sort -u)
comm -12 <(sort <<<"$changed") <(echo "$known") | xargs -r -P "$(nproc)" -n 1 clang-tidy-14 -p "$1" --quiet
