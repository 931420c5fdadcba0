#!/usr/bin/env bash
# Writes the files that are generated from the code: config/crd and docs/reference/configuration.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo run --quiet --locked -- crd --directory config/crd
TIPROXY_OPERATOR_WRITE_REFERENCE=1 cargo test --quiet --locked --lib proxy_config::reference
