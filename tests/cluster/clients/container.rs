//! The container of a Pod as a process: its files, its program and its readiness probe.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Api, ResourceExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::program::Program;

/// Writes what the container's ConfigMaps hold; false while one is missing.
///
/// A process that listens on every address would be in the way of the other Pods, which share this machine: in the
/// files, and nowhere else, `0.0.0.0` becomes the address of the Pod. So do names that are given become what they lead
/// to. What TiProxy can take over without a restart is not touched by that.
pub(super) async fn write_files(
    pod: &Pod,
    config_maps: &Api<ConfigMap>,
    root: &Path,
    address: Ipv4Addr,
    names: &[(String, String)],
) -> bool {
    for (mount, name) in mounts(pod) {
        let Ok(Some(config_map)) = config_maps.get_opt(&name).await else {
            return false;
        };
        let directory = below(root, &mount);
        fs::create_dir_all(&directory).expect("a directory can be made");
        for (file, text) in config_map.data.unwrap_or_default() {
            let mut text = text.replace("\"0.0.0.0:", &format!("\"{address}:"));
            for (name, target) in names {
                text = text.replace(name, target);
            }
            let path = directory.join(&file);
            if fs::read_to_string(&path).is_ok_and(|now| now == text) {
                continue;
            }
            let temporary = directory.join(format!("..{file}"));
            fs::write(&temporary, text).expect("a file can be written");
            fs::rename(temporary, path).expect("a file can be renamed");
        }
    }
    true
}

/// Starts the container's program, with its output in a file. It dies with the returned value.
pub(super) fn start(program: &Program, pod: &Pod, root: &Path, log: &Path) -> io::Result<Child> {
    let container = container(pod);
    let words = [&container.command, &container.args]
        .into_iter()
        .flatten()
        .flatten();
    let mounts = mounts(pod);
    let arguments: Vec<_> = words
        .skip(1)
        .map(|word| {
            let is_file = |mount: &&String| word.starts_with(&format!("{mount}/"));
            match mounts.keys().find(is_file) {
                Some(_) => below(root, word).to_string_lossy().into_owned(),
                None => word.clone(),
            }
        })
        .collect();
    let values = container.env.iter().flatten();
    let values = values.filter_map(|variable| Some((&variable.name, variable.value.as_ref()?)));
    let output = File::create(log)?;
    program
        .command(&arguments)
        .envs(values)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
}

/// What is mounted where: paths, and names of ConfigMaps.
fn mounts(pod: &Pod) -> BTreeMap<String, String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let config_maps: BTreeMap<_, _> = volumes
        .filter_map(|volume| Some((&volume.name, volume.config_map.as_ref()?.name.clone())))
        .collect();
    let mounts = container(pod).volume_mounts.iter().flatten();
    mounts
        .filter_map(|mount| Some((mount.mount_path.clone(), config_maps.get(&mount.name)?.clone())))
        .collect()
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The container; there is only one.
pub(super) fn container(pod: &Pod) -> &Container {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.containers.first())
        .unwrap_or_else(|| panic!("Pod {} has no container", pod.name_any()))
}

/// Whether the probe passes now.
pub(super) async fn passes(probe: &Probe, pod: &Pod, address: Ipv4Addr) -> bool {
    let limit = seconds(probe.timeout_seconds, 1);
    let port = |port: &IntOrString| SocketAddr::from((address, number(port, container(pod))));
    if let Some(http) = &probe.http_get {
        assert_eq!(http.scheme.as_deref().unwrap_or("HTTP"), "HTTP", "no TLS here");
        let answer = get(port(&http.port), http.path.as_deref().unwrap_or("/"), limit).await;
        return answer.is_some_and(|(status, _)| (200..400).contains(&status));
    }
    let tcp = probe.tcp_socket.as_ref().expect("a probe by HTTP or TCP");
    let connected = tokio::time::timeout(limit, TcpStream::connect(port(&tcp.port))).await;
    matches!(connected, Ok(Ok(_)))
}

/// A field in seconds, or its default.
pub(super) fn seconds(field: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(field.and_then(|field| field.try_into().ok()).unwrap_or(default))
}

fn number(port: &IntOrString, container: &Container) -> u16 {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports
                .find(|port| port.name.as_ref() == Some(name))
                .map(|port| port.container_port)
        }
    };
    number
        .and_then(|number| number.try_into().ok())
        .unwrap_or_else(|| panic!("{port:?} is a port of the container"))
}

/// The status and body of a path; None when nobody answers in time.
pub(super) async fn get(address: SocketAddr, path: &str, limit: Duration) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0, so that the body ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(limit, exchange).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
