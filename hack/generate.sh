#!/usr/bin/env bash
# Writes the files that are generated from the code: config/crd.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo run --quiet --locked -- crd --directory config/crd
