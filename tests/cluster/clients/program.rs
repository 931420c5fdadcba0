//! What runs in the containers, and what is around it.

use std::env;
use std::path::{Path, PathBuf};

use clap::Parser;
use tiproxy_standin::flags::Flags;
use tiproxy_standin::testing::etcd::Etcd;
use tiproxy_standin::testing::tidb::{Tidb, TidbTls};
use tokio::process::Command;

/// Names the real TiProxy that takes the place of the stand-in.
const BINARY: &str = "TIPROXY_BIN";
/// Its line, `v1.3` or `v26`; also the line that the stand-in shows.
const LINE: &str = "TIPROXY_LINE";
/// The arguments of the stand-in, as JSON: with them this test program is the stand-in.
const ARGUMENTS: &str = "TIPROXY_OPERATOR_TEST_STANDIN";
/// The test that becomes the stand-in.
const STAND_IN: &str = "the_stand_in_is_a_process_of_its_own";

/// TiProxy as a program.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// The stand-in, out of this test program.
    StandIn,
    /// A real one.
    Real(PathBuf),
}

impl Program {
    /// The one that the environment asks for.
    pub(super) fn get() -> Self {
        env::var_os(BINARY).map_or(Self::StandIn, |binary| Self::Real(binary.into()))
    }

    /// How the table calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::StandIn => format!("stand-in, {}", line()),
            Self::Real(binary) => {
                let name = binary.file_name().unwrap_or_default().to_string_lossy();
                name.replacen("tiproxy-", "TiProxy ", 1)
            }
        }
    }

    /// The command that runs it with these arguments.
    pub(super) fn command(&self, arguments: &[String]) -> Command {
        match self {
            Self::Real(binary) => {
                let mut command = Command::new(binary);
                command.args(arguments);
                command
            }
            Self::StandIn => {
                let flags = [&["tiproxy", "--line", &line()].map(str::to_owned)[..], arguments].concat();
                let module = module_path!();
                let (_, module) = module.split_once("::").expect("a module of this program");
                let mut command = Command::new(env::current_exe().expect("this program has a path"));
                command
                    .args(["--exact", &format!("{module}::{STAND_IN}"), "--nocapture"])
                    .env(ARGUMENTS, serde_json::to_string(&flags).expect("texts are JSON"));
                command
            }
        }
    }
}

/// The version line.
pub(super) fn line() -> String {
    env::var(LINE).unwrap_or_else(|_| "v1.3".to_owned())
}

/// Two versions of the line, which differ in their names only: the program is the same.
pub(super) fn versions() -> [&'static str; 2] {
    match line().as_str() {
        "v1.3" => ["v1.3.1", "v1.3.2"],
        "v26" => ["v26.3.0", "v26.3.1"],
        other => panic!("{LINE} is v1.3 or v26, not {other:?}"),
    }
}

/// What a real TiProxy needs: an etcd in the place of PD, and TiDBs. The stand-in needs nothing.
pub(super) struct Surroundings {
    etcd: Option<Etcd>,
    _tidbs: Vec<Tidb>,
}

impl Surroundings {
    /// Starts it, with the files of etcd in a directory.
    pub(super) async fn start(program: &Program, directory: &Path) -> Self {
        if matches!(program, Program::StandIn) {
            return Self {
                etcd: None,
                _tidbs: Vec::new(),
            };
        }
        let etcd = Etcd::start(directory, None).await;
        let mut tidbs = Vec::new();
        for _ in 0..2 {
            let tidb = Tidb::start([].into(), true, TidbTls::default()).await;
            etcd.register(&tidb).await;
            tidbs.push(tidb);
        }
        Self {
            etcd: Some(etcd),
            _tidbs: tidbs,
        }
    }

    /// The address that a Service of PD's leads to: there is no cluster network on this machine.
    pub(super) fn address_of_pd(&self) -> Option<String> {
        let etcd = self.etcd.as_ref()?;
        Some(format!("127.0.0.1:{}", etcd.endpoint.port))
    }
}

/// With arguments in the environment this is the stand-in, until a signal ends it.
#[test]
fn the_stand_in_is_a_process_of_its_own() {
    if let Ok(arguments) = env::var(ARGUMENTS) {
        let arguments: Vec<String> = serde_json::from_str(&arguments).expect("a list of texts");
        let ended = tiproxy_standin::process::main(&Flags::parse_from(arguments));
        let Err(error) = ended else { return };
        // As its own program does; a panic would have another code.
        eprintln!("Error: fail to create server: {error}");
        std::process::exit(1);
    }
    let command = Program::StandIn.command(&["--config-info".to_owned(), "json".to_owned()]);
    let output = command.into_std().output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("\"proxy.addr\""),
        "{text}"
    );
}
