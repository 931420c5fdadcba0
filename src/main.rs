//! The `tiproxy-operator` binary.

fn main() {}
