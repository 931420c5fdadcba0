//! The `tiproxy-operator` binary.

use std::process::ExitCode;

use clap::Parser;
use tiproxy_operator::cli::{Cli, Command, CrdArguments, RunArguments};
use tiproxy_operator::{api, run, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(cli.run),
        Some(Command::Run(arguments)) => run(arguments),
        Some(Command::Crd(arguments)) => crd(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            #[expect(clippy::print_stderr, reason = "the last words of the process")]
            {
                eprintln!("{text}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: RunArguments) -> Result<(), Box<dyn std::error::Error>> {
    telemetry::init(arguments.log_format, arguments.log_filter.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(run::run(arguments));
    // A name that is just being looked up would hold the end of the process.
    runtime.shutdown_background();
    Ok(result?)
}

#[expect(clippy::print_stdout, reason = "the definitions are the output")]
fn crd(arguments: &CrdArguments) -> Result<(), Box<dyn std::error::Error>> {
    for (file, text) in api::crd::files()? {
        match &arguments.directory {
            Some(directory) => {
                let path = directory.join(file);
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::fs::write(path, text)?;
            }
            None if file.starts_with(api::crd::OPTIONAL) && !arguments.cluster => {}
            None => print!("---\n{text}"),
        }
    }
    Ok(())
}
