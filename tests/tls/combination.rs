//! The sixteen ways to have TLS between clients, TiProxy, TiDB and PD; for all tests that go through them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tiproxy_operator::api::{Discovery, TiProxyGroup};
use tiproxy_operator::{group, instance};

/// Where TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "there are four places")]
pub(crate) struct Combination {
    /// Between clients and TiProxy.
    pub(crate) mysql: bool,
    /// Between TiProxy and TiDB.
    pub(crate) backend: bool,
    /// Between TiProxy, PD and TiDB's status port.
    pub(crate) cluster: bool,
    /// On TiProxy's HTTP API.
    pub(crate) http: bool,
}

/// What the operator makes of one.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// The Pod.
    pub(crate) pod: Pod,
    /// `config.toml`.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub(crate) config: String,
}

impl Combination {
    /// All sixteen.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..16_u8).map(|bits| Self {
            mysql: bits & 1 != 0,
            backend: bits & 2 != 0,
            cluster: bits & 4 != 0,
            http: bits & 8 != 0,
        })
    }

    /// A name that fits an object: `tls-mysql-http`, or `tls-none`.
    pub(crate) fn name(self) -> String {
        let parts = [
            (self.mysql, "mysql"),
            (self.backend, "backend"),
            (self.cluster, "cluster"),
            (self.http, "http"),
        ];
        let on: Vec<&str> = parts
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect();
        if on.is_empty() {
            "tls-none".to_owned()
        } else {
            format!("tls-{}", on.join("-"))
        }
    }

    /// A group that asks for it, of a TiDB cluster outside of Kubernetes.
    pub(crate) fn group(self) -> Value {
        let mut tls = json!({
            "mysql": {"enabled": self.mysql},
            "backend": {"enabled": self.backend},
            "server": {"enabled": self.http},
        });
        if self.cluster {
            tls["cluster"] = json!({});
        }
        json!({
            "apiVersion": "core.pingcap.com/v1alpha1",
            "kind": "TiProxyGroup",
            "metadata": {"name": self.name()},
            "spec": {
                "cluster": {"name": "basic", "pdAddrs": ["pd.example:2379"]},
                "replicas": 1,
                "template": {"spec": {"version": "v1.3.2", "security": {"tls": tls}}},
            },
        })
    }

    /// The first TiProxy of that group.
    pub(crate) fn rendered(self) -> Rendered {
        let mut manifest = self.group();
        manifest["metadata"]["namespace"] = json!("tidb");
        manifest["metadata"]["uid"] = json!("uid-group");
        let object: TiProxyGroup = serde_json::from_value(manifest).expect("a group");
        let group = group::validate::validate(&object).expect("a valid group");
        let discovery = Discovery {
            pd_addrs: vec!["pd.example:2379".to_owned()],
            tls: Some(self.cluster),
            ..Discovery::default()
        };
        let mut tiproxy = group::build::instance::instance(&group, &discovery, 0, None);
        tiproxy.metadata.namespace = Some("tidb".to_owned());
        tiproxy.metadata.uid = Some("uid-instance".to_owned());
        let instance = instance::validate::validate(&tiproxy).expect("a valid TiProxy");
        let tls = instance::build::tls::tls(&instance);
        let config_map = instance::build::config_map::config_map(
            &instance,
            &tls,
            &instance::location::Location::of(&instance, None, None),
        );
        let mut data = config_map.data.expect("a ConfigMap with data");
        Rendered {
            pod: instance::build::pod::pod(&instance, &tls),
            config: data.remove("config.toml").expect("config.toml"),
        }
    }
}
