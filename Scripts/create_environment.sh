#!/usr/bin/env bash
# Create a virtual environment with the best Python found: 3.12 (as in 3D Slicer) or 3.13.
set -euo pipefail

environment=${1:?usage: create_environment.sh FOLDER}
# An environment that happens to be active must not leak into the new one.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

candidates() {
  local version minor
  for minor in 12 13; do
    echo "python3.$minor"
    # pyenv keeps interpreters that its shims refuse to start outside their own shell.
    for version in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
      [[ -x $version ]] && echo "$version"
    done
    command -v uv >/dev/null && uv python find --offline "3.$minor" 2>/dev/null
  done
  echo python3
  echo python
}

# Debian's python3 without python3-venv imports venv but lacks ensurepip.
usable='import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))'
while read -r python; do
  if "$python" -c "$usable" >/dev/null 2>&1; then
    echo "Creating $environment with $("$python" --version) ..."
    exec "$python" -m venv --clear "$environment"
  fi
done < <(candidates)

cat >&2 <<'MESSAGE'
No usable Python found: version 3.12 or 3.13 with the venv module is needed.
  Debian, Ubuntu:  apt-get install python3 python3-venv   (Debian 13 and Ubuntu 24.04 or newer)
  macOS:           brew install python@3.12
  anywhere:        https://www.python.org/downloads/
MESSAGE
exit 1
