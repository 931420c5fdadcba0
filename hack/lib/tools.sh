# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its variables are for the scripts that source it, and $root comes from localkube.sh.
# Tools of the checks, in pinned versions, below target/; sourced by scripts with `set -e`.

cargo_deny_version=0.20.2
cargo_deny=$root/target/tools/cargo-deny-$cargo_deny_version/bin/cargo-deny

# Some minutes the first time.
install_cargo_deny() {
  [[ ! -x $cargo_deny ]] || return 0
  require_tool cargo "see https://rustup.rs"
  echo "building cargo-deny $cargo_deny_version, some minutes the first time"
  cargo install --locked --version "$cargo_deny_version" --root "${cargo_deny%/bin/*}" \
    --target-dir "$root/target/tools/build" cargo-deny
  rm -rf "$root/target/tools/build"
}

install_shellcheck() {
  install_package shellcheck shellcheck
}

# With it a test logs in as ordinary users do.
install_mysql_client() {
  install_package mysql default-mysql-client
}

# install_package COMMAND PACKAGE: where that is possible; else it is named.
install_package() {
  ! command -v "$1" >/dev/null || return 0
  if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes "$2" >/dev/null
  fi
  require_tool "$1" "apt-get install -y $2"
}
