//! The `tiproxy-operator` binary.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tiproxy_operator::cli::{Cli, Command, CrdArguments, RenderArguments, RunArguments};
use tiproxy_operator::render::{self, Options, Source};
use tiproxy_operator::{api, run, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(cli.run).map(|()| ExitCode::SUCCESS),
        Some(Command::Run(arguments)) => run(arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Crd(arguments)) => crd(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Render(arguments)) => render(arguments),
    };
    match result {
        Ok(code) => code,
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

#[expect(clippy::print_stderr, reason = "the standard output is for the configuration")]
fn render(arguments: RenderArguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let sources = arguments
        .filename
        .iter()
        .map(|file| source(file))
        .collect::<Result<Vec<_>, _>>()?;
    let options = Options {
        pd_addrs: arguments.pd_addrs,
        namespace: arguments.namespace,
        ordinal: arguments.ordinal,
    };
    let output = render::render(&sources, &options);
    for message in &output.messages {
        eprintln!("{message}");
    }
    match std::io::stdout().write_all(output.text().as_bytes()) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    Ok(if output.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn source(file: &Path) -> Result<Source, String> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        ("the standard input".to_owned(), read.map(|_| text))
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    match text {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}
