//! TiProxy runs with what the operator renders for each combination of TLS, and the probe that is rendered with it finds
//! it ready.

use std::sync::Mutex;

use k8s_openapi::api::core::v1::{Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tiproxy_standin::flags::Line;
use tiproxy_standin::tls::Object;

use crate::certificates::{Authority, Mount, client};
use crate::combination::Combination;
use crate::etcd::EtcdTls;
use crate::http::Endpoint;
use crate::mysql::{Client, Refused};
use crate::subject::{Directory, Proxy, Start};
use crate::tidb::TidbTls;
use crate::wait::{eventually, expect};
use crate::world::{WorldTls, labels};

/// The directories where the Pod has certificates.
const MOUNTS: [&str; 4] = [
    "/var/lib/tiproxy-tls",
    "/var/lib/tiproxy-http-tls",
    "/var/lib/tiproxy-sql-tls",
    "/var/lib/tiproxy-tidb-tls",
];

/// The certificates of a TiDB cluster, and where the Pod finds its own.
pub(crate) struct Certificates {
    authority: Authority,
    directory: Directory,
    members: Mount,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let authority = Authority::new("ca");
        let members = authority.mount(&directory.0.join("members"), &authority.pair("member"));
        for mount in MOUNTS {
            let pair = authority.pair(mount);
            authority.mount(&directory.0.join(mount.trim_start_matches('/')), &pair);
        }
        Self {
            authority,
            directory,
            members,
        }
    }

    /// The configuration with the Pod's directories where this test has them.
    fn localized(&self, config: &str) -> String {
        let root = self.directory.0.to_string_lossy().into_owned();
        MOUNTS.iter().fold(config.to_owned(), |config, mount| {
            config.replace(&format!("{mount}/"), &format!("{root}{mount}/"))
        })
    }

    /// A TiDB cluster that has TLS where the combination says so.
    fn world(&self, combination: Combination) -> WorldTls {
        let member = Object {
            cert: self.members.path("tls.crt"),
            key: self.members.path("tls.key"),
            ca: self.members.path("ca.crt"),
            ..Object::default()
        };
        // TiDB does not ask for certificates on its SQL port, everybody does within the cluster.
        let sql = Object {
            ca: String::new(),
            ..member.clone()
        };
        let pair = self.authority.pair("test");
        WorldTls {
            etcd: combination.cluster.then(|| EtcdTls {
                ca: member.ca.clone(),
                cert: member.cert.clone(),
                key: member.key.clone(),
                client: client(Some(&pair)),
            }),
            tidb: TidbTls {
                sql: combination.backend.then(|| sql.server().unwrap().unwrap()),
                status: combination.cluster.then(|| member.server().unwrap().unwrap()),
            },
        }
    }

    /// A TiProxy that runs what was rendered.
    pub(crate) async fn start(&self, line: Line, combination: Combination) -> (Proxy, Pod) {
        let rendered = combination.rendered();
        let start = Start {
            config: self.localized(&rendered.config),
            whole: true,
            api_tls: combination.http.then(|| client(None)),
            tls: self.world(combination),
            ..Start::default()
        };
        let mut proxy = start.run(line).await;
        proxy.world.add(labels(&[]), true).await;
        (proxy, rendered.pod)
    }
}

/// What the kubelet makes of a probe: any status from 200 to 399, and the server's certificate is not verified.
async fn probed(pod: &Pod, probe: &Probe, proxy: &Proxy) -> Result<u16, String> {
    let get = probe
        .http_get
        .as_ref()
        .ok_or("the probe is by HTTP in all of these combinations")?;
    assert_eq!(
        port(pod, &get.port),
        Some(3080),
        "the API port, which is {} here",
        proxy.api.port
    );
    let tls = match get.scheme.as_deref() {
        Some("HTTPS") => Some(client(None)),
        _ => None,
    };
    let endpoint = Endpoint {
        port: proxy.api.port,
        tls,
    };
    let answer = endpoint
        .request("GET", get.path.as_deref().unwrap_or("/"), "")
        .await
        .map_err(|error| error.to_string())?;
    expect((200..400).contains(&answer.status), answer.status)
}

/// The number of a container's port.
fn port(pod: &Pod, port: &IntOrString) -> Option<i32> {
    match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let container = pod.spec.as_ref()?.containers.first()?;
            let ports = container.ports.as_ref()?;
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name))?;
            Some(named.container_port)
        }
    }
}

async fn serves(certificates: &Certificates, line: Line, combination: Combination) {
    let (proxy, pod) = certificates.start(line, combination).await;
    let name = combination.name();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let probe = container.readiness_probe.as_ref().unwrap();
    eventually(&format!("{name} is ready"), async || {
        probed(&pod, probe, &proxy).await
    })
    .await;
    let mut plain = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(plain.query("SELECT 1").await.unwrap(), "1", "{name}");
    let secured = Client::login(proxy.sql, Some(&client(None))).await;
    match secured {
        Ok(mut secured) => {
            assert!(combination.mysql, "{name}");
            assert_eq!(secured.query("SELECT 1").await.unwrap(), "1", "{name}");
        }
        Err(refused) => assert!(
            matches!(refused, Refused::NoTls) && !combination.mysql,
            "{name}: {refused:?}"
        ),
    }
    if proxy.real && combination.backend {
        // The client has no TLS, TiDB's side has.
        let value = plain.value("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
        assert!(value.starts_with("TLS_"), "{name}: {value}");
    }
}

fn all(line: Line) {
    let certificates = Certificates::new();
    let combinations = Mutex::new(Combination::all());
    // A few at a time: a real one brings an etcd along.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                loop {
                    let next = combinations.lock().unwrap().next();
                    let Some(combination) = next else {
                        return;
                    };
                    runtime.block_on(serves(&certificates, line, combination));
                }
            });
        }
    });
}

#[test]
fn the_older_line_runs_with_each_combination_of_tls() {
    all(Line::V1_3);
}

#[test]
fn the_newer_line_runs_with_each_combination_of_tls() {
    all(Line::V26);
}
