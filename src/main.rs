//! The `tiproxy-operator` binary.
#![allow(clippy::print_stdout)]
fn main() {
    for (file, text) in tiproxy_operator::api::crd::files().unwrap_or_default() {
        std::fs::write(format!("config/crd/{file}"), text).ok();
    }
    if let Err(e) = tiproxy_operator::api::crd::files() {
        println!("{e}");
    }
}
