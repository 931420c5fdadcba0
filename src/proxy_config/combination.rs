//! Settings that fit one by one and not together.

use super::diagnosis::{Diagnoses, DiagnosisKind, Position};
use super::key_table::KEYS;
use super::overlay::{Managed, Tls};
use super::tree::{self, Table};

/// What cannot be right whatever the operator adds.
pub(super) fn check(root: &Table, found: &mut Diagnoses) {
    let clusters = array_length(root, "proxy.backend-clusters");
    if clusters > 1 && text(root, "balance.routing-rule").is_empty() {
        let path = "proxy.backend-clusters";
        let message = format!(
            "`{path}` has {clusters} clusters, and without a routing rule TiProxy spreads the clients of one over the \
             databases of all: set `balance.routing-rule`, for example to \"port\", or keep one cluster"
        );
        found.error(DiagnosisKind::Combination, path, at(root, path), message);
    }
}

/// What the whole configuration tells once the operator has added its part. `user` knows the positions.
pub(super) fn warn(user: &Table, whole: &Table, managed: &Managed, found: &mut Diagnoses) {
    warn_label_name(user, whole, managed, found);
    warn_backends(user, managed, found);
    warn_server(user, "server-tls", managed.tls.server_sql.as_ref(), found);
    warn_server(user, "server-http-tls", managed.tls.server_http.as_ref(), found);
    warn_tls(&managed.tls, found);
    if let Some(version) = &managed.version {
        warn_version(user, version, found);
    }
}

fn warn_label_name(user: &Table, whole: &Table, managed: &Managed, found: &mut Diagnoses) {
    let path = "balance.label-name";
    let name = text(whole, path);
    let labels = tree::get(whole, "labels").and_then(|labels| labels.value.as_table());
    let own = labels
        .and_then(|labels| labels.get(name))
        .and_then(|own| own.value.as_text())
        .unwrap_or_default();
    if name.is_empty() || !own.is_empty() {
        return;
    }
    let at = if managed.label_name.is_some() {
        None
    } else {
        at(user, path)
    };
    let message = format!(
        "`{path}` = \"{}\" has no effect, TiProxy routes to every TiDB: it has no label of this name itself, set one \
         in spec.template.spec.server.labels",
        super::diagnosis::shown(name)
    );
    found.warn(DiagnosisKind::Ineffective, path, at, message);
}

fn warn_backends(user: &Table, managed: &Managed, found: &mut Diagnoses) {
    let path = "proxy.backend-clusters";
    if array_length(user, path) > 0 {
        let message = format!(
            "`{path}` replaces `proxy.pd-addrs`: the cluster of spec.cluster is reached only if it is listed there too"
        );
        found.warn(DiagnosisKind::Combination, path, at(user, path), message);
    }
    let path = "proxy.port-range";
    let range = tree::get(user, path)
        .and_then(|range| range.value.as_array())
        .unwrap_or_default();
    let ports: Vec<i64> = range.iter().filter_map(|port| port.value.as_integer()).collect();
    if let [first, last] = ports.as_slice()
        && !(*first..=*last).contains(&i64::from(managed.sql_port))
    {
        let port = managed.sql_port;
        let message = format!(
            "`{path}` = [{first}, {last}] leaves out {port}, so that nothing listens where the Service leads: let \
             spec.template.spec.server.port.sql be one of these ports"
        );
        found.warn(DiagnosisKind::Combination, path, at(user, path), message);
    }
    let path = "proxy.fail-backend-list";
    if array_length(user, path) > 0 && text(user, "balance.routing-rule").is_empty() {
        let message = format!(
            "`{path}` is passed over by a TiProxy that starts, until its configuration changes once: change it again \
             when a Pod was replaced"
        );
        found.warn(DiagnosisKind::Ineffective, path, at(user, path), message);
    }
}

/// What the user's settings beside the operator's files do to a port of TiProxy's own.
fn warn_server(user: &Table, object: &str, files: Option<&super::overlay::TlsFiles>, found: &mut Diagnoses) {
    let names = format!("security.{object}.cert-allowed-cn");
    if array_length(user, &names) > 0 {
        let at = at(user, &names);
        match files.filter(|files| files.ca.is_some()) {
            None => {
                let message =
                    format!("`{names}` has no effect, TiProxy asks its clients for no certificate here");
                found.warn(DiagnosisKind::Ineffective, &names, at, message);
            }
            Some(files) if files.skip_ca => {
                let who = if object == "server-http-tls" {
                    ", also the kubelet's probe and Prometheus"
                } else {
                    ""
                };
                let message = format!(
                    "`{names}` makes TiProxy refuse every client without a certificate{who}: remove it, or set \
                     clientAuth to RequireClientCert"
                );
                found.warn(DiagnosisKind::Combination, &names, at, message);
            }
            Some(_) => {}
        }
    }
    let auto_certs = format!("security.{object}.auto-certs");
    // On the API port it is the operator's, and overridden.
    let wanted = object == "server-tls"
        && tree::get(user, &auto_certs).and_then(|node| node.value.as_boolean()) == Some(true);
    if wanted && files.is_some_and(|files| files.cert.is_some()) {
        let message = format!("`{auto_certs}` has no effect, TiProxy has a certificate: remove it");
        found.warn(
            DiagnosisKind::Ineffective,
            &auto_certs,
            at(user, &auto_certs),
            message,
        );
    }
}

fn warn_tls(tls: &Tls, found: &mut Diagnoses) {
    if tls.server_http.is_some() != tls.cluster.is_some() {
        let path = "security.server-http-tls";
        let (this, other) = if tls.cluster.is_some() {
            ("off", "on")
        } else {
            ("on", "off")
        };
        let message = format!(
            "`{path}` is {this} and `security.cluster-tls` is {other}: TiProxies cannot read each other's metrics \
             then, and balance by connections only; let spec.template.spec.security.tls.server follow the cluster"
        );
        found.warn(DiagnosisKind::Combination, path, None, message);
    }
    for (object, files) in [("sql-tls", &tls.backend), ("cluster-tls", &tls.cluster)] {
        if let Some(files) = files
            && files.ca.is_none()
            && files.cert.is_some()
        {
            let path = format!("security.{object}.cert");
            let message = format!(
                "`{path}` has no effect, TiProxy sends a certificate only where it verifies the other side: do not \
                 use insecureSkipTLSVerify together with mutual"
            );
            found.warn(DiagnosisKind::Ineffective, &path, None, message);
        }
    }
}

/// Keys that the version at hand does not know are ignored by it as any unknown key is.
fn warn_version(user: &Table, version: &str, found: &mut Diagnoses) {
    for key in KEYS.iter().filter(|key| !key.dead && key.managed.is_none()) {
        if tree::get(user, key.path).is_some() && key.since.is_in(version) == Some(false) {
            let path = key.path;
            let message = format!(
                "`{path}` has no effect in {version}: it needs TiProxy {}",
                key.since.versions()
            );
            found.warn(DiagnosisKind::Ineffective, path, at(user, path), message);
        }
    }
}

fn at(root: &Table, path: &str) -> Option<Position> {
    let node = tree::get(root, path)?;
    node.key_at.or(node.value_at)
}

fn text<'tree>(root: &'tree Table, path: &str) -> &'tree str {
    tree::get(root, path)
        .and_then(|node| node.value.as_text())
        .unwrap_or_default()
}

fn array_length(root: &Table, path: &str) -> usize {
    tree::get(root, path)
        .and_then(|node| node.value.as_array())
        .map_or(0, <[_]>::len)
}
