#!/usr/bin/env bash
# Installs what bitanchor needs and is not there: Debian packages, and a Python environment in
# build/venv. What is there already is left alone, so a second run does nothing.
#
#   tools/setup.sh           what tools/demo and tools/test need
#   tools/setup.sh --torch   PyTorch and transformers as well, for tests/python/captures_test.py
#   tools/setup.sh --plots   matplotlib as well, for tools/figure and tools/python/drift_plot.py
#
# tools/demo, tools/test and .ci/run source this file for its functions.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/build/venv"
VENV_PYTHON="$VENV/bin/python"

BUILD_PACKAGES=(cmake ninja-build g++ pkg-config libhwy-dev libtbb-dev libgtest-dev libbenchmark-dev
  libcli11-dev libfmt-dev libssl-dev nlohmann-json3-dev libmpfr-dev)

# Progress goes to stderr, as bitanchor's own does.
say() { printf '== %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# as_root COMMAND...: as it is for root, through sudo for others.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    die "this needs root or sudo: $*"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@" </dev/null
  fi
}

# ensure_packages NAME...: installs the Debian packages of these names that are missing.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "Not a Debian system: taking for granted what Debian calls $*"
    return 0
  fi
  local package missing=()
  for package in "$@"; do
    if [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]]; then
      missing+=("$package")
    fi
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return 0; fi
  say "Installing Debian packages (about a minute): ${missing[*]}"
  as_root apt-get update -qq >&2 || die "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die "apt-get could not install: ${missing[*]}"
}

# ensure_build_packages: what the C++ build needs.
ensure_build_packages() { ensure_packages "${BUILD_PACKAGES[@]}"; }

# ensure_venv REQUIREMENTS: build/venv with what tools/python/REQUIREMENTS pins.
ensure_venv() {
  local wanted="$ROOT/tools/python/$1" installed="$VENV/installed-$1"
  if ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
    command -v python3 >/dev/null || ensure_packages python3
    # A python3 of one's own brings its own venv; Debian's needs a package.
    python3 -c 'import ensurepip, venv' 2>/dev/null || ensure_packages python3-venv
    say "Making a Python environment in build/venv (seconds)"
    mkdir -p "$ROOT/build"
    python3 -m venv --clear "$VENV" || die "python3 -m venv failed"
  fi
  if cmp -s "$wanted" "$installed"; then return 0; fi
  say "Installing what tools/python/$1 pins into build/venv (seconds; with torch, minutes)"
  "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" \
    </dev/null >&2 ||
    die "pip could not install what tools/python/$1 pins. It needs a package index that it can" \
      "reach, and Python 3.11 or newer (this is $("$VENV_PYTHON" --version 2>&1))"
  cp "$wanted" "$installed"
}

# ensure_torch: PyTorch and transformers in build/venv, and the headers that torch.compile needs.
ensure_torch() {
  ensure_venv requirements.txt
  ensure_venv requirements-torch.txt
  local header='import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))'
  if [[ ! -e "$("$VENV_PYTHON" -c "$header")" ]]; then ensure_packages python3-dev; fi
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
  case "${1-}" in
    "") ;;
    --torch | --plots) ;;
    *) die "usage: tools/setup.sh [--torch | --plots]" ;;
  esac
  ensure_build_packages
  ensure_venv requirements.txt
  if [[ "${1-}" == --torch ]]; then ensure_torch; fi
  if [[ "${1-}" == --plots ]]; then ensure_venv requirements-plots.txt; fi
  say "Everything is there"
fi
