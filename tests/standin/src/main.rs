//! The stand-in as a program, with TiProxy's own flags and some that say what surrounds it.

use std::process::ExitCode;

use clap::Parser;
use tiproxy_standin::flags::Flags;

fn main() -> ExitCode {
    let flags = Flags::parse();
    match tiproxy_standin::process::main(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As TiProxy does: the reason on standard error, and exit code 1.
            eprintln!("Error: fail to create server: {error}");
            ExitCode::FAILURE
        }
    }
}
