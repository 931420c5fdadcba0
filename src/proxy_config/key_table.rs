//! All keys of TiProxy's configuration file, as data.
//!
//! From the `toml` tags of TiProxy's `lib/config` at all tags from v1.0.0 to v26.3.1 and at
//! commit dd4b39c2; `metering.*` from `pingcap/metering_sdk` at 14fead7.

use super::key::{
    Effect::{self, Hot, NewConnections, Start},
    Key,
    Kind::{
        self, Anything, BackendClusters, Boolean, Duration, DurationText, Float, FloatAboveOne, Integer,
        IntegerOrZero, Labels, LogLevel, Networks, NonEmptyTexts, OneOf, PortRange, Preferably, Text, Texts,
        TlsVersion,
    },
};
use super::version::Since::{
    self, AfterV26_3_1, Nextgen, Nextgen2, Nextgen4AndV1_3_3, Nextgen5AndV1_3_3, Nextgen7, Nextgen7AndV1_3_3,
    V1_0, V1_1, V1_2, V1_3_1, V1_4Beta, V26AndV1_3_3,
};

const fn key(path: &'static str, kind: Kind, default: &'static str, effect: Effect, since: Since) -> Key {
    let (managed, ineffective, dead, secret, note) = (None, None, false, false, "");
    Key {
        path,
        kind,
        default,
        effect,
        since,
        managed,
        ineffective,
        dead,
        secret,
        note,
    }
}

/// A key of the past, with its default if TiProxy still decodes it.
const fn dead(path: &'static str, kind: Kind, default: &'static str, note: &'static str) -> Key {
    let mut key = key(path, kind, default, Start, V1_0).secret().note(note);
    key.dead = true;
    key
}

/// Seconds that still fit a Go duration and the grace period of a Pod.
const SECONDS: Kind = Integer {
    min: -(i32::MAX as i64),
    max: i32::MAX as i64,
};
const COUNT: Kind = Integer {
    min: 0,
    max: i64::MAX,
};
const ANY_INTEGER: Kind = Integer {
    min: i64::MIN,
    max: i64::MAX,
};
const MIGRATIONS: Kind = Float {
    min: 0.0,
    max: f64::INFINITY,
};
const FRONTEND_ONLY_ENABLED: &str = "TiProxy reads only `enabled` of proxy.frontend-keepalive";
const CLIENT_AUTO_CERTS: &str = "TiProxy makes certificates only for the ports that it serves";
const CLIENT_COMMON_NAME: &str = "TiProxy checks common names only of its own clients";
const NOT_ON_KUBERNETES: &str =
    "a Service gives the address on Kubernetes, and TiProxy's virtual IP does not work in a Pod";
const MYSQL: &str = "spec.template.spec.security.tls.mysql";
const SERVER: &str = "spec.template.spec.security.tls.server";
const CLUSTER: &str =
    "spec.tlsCluster of the Cluster, or spec.template.spec.security.tls.cluster with pdAddrs";
const BACKEND: &str = "spec.template.spec.security.tls.backend";

/// The table. Sorted by section; `labels` stands for all labels.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("proxy.addr", Text, "\"0.0.0.0:6000\"", Start, V1_0).managed_by("spec.template.spec.server.port.sql"),
    key("proxy.advertise-addr", Text, "\"\"", Start, V1_1).managed_by(""),
    key("proxy.backend-clusters", BackendClusters, "[]", Hot, Nextgen7).note("A non-empty list replaces proxy.pd-addrs."),
    key("proxy.backend-healthy-keepalive.cnt", ANY_INTEGER, "5", NewConnections, V1_0),
    key("proxy.backend-healthy-keepalive.enabled", Boolean, "true", NewConnections, V1_0),
    key("proxy.backend-healthy-keepalive.idle", Duration, "\"60s\"", NewConnections, V1_0),
    key("proxy.backend-healthy-keepalive.intvl", Duration, "\"3s\"", NewConnections, V1_0),
    key("proxy.backend-healthy-keepalive.timeout", Duration, "\"15s\"", NewConnections, V1_0),
    key("proxy.backend-unhealthy-keepalive.cnt", ANY_INTEGER, "5", NewConnections, V1_0),
    key("proxy.backend-unhealthy-keepalive.enabled", Boolean, "true", NewConnections, V1_0),
    key("proxy.backend-unhealthy-keepalive.idle", Duration, "\"10s\"", NewConnections, V1_0),
    key("proxy.backend-unhealthy-keepalive.intvl", Duration, "\"1s\"", NewConnections, V1_0),
    key("proxy.backend-unhealthy-keepalive.timeout", Duration, "\"5s\"", NewConnections, V1_0),
    key("proxy.conn-buffer-size", IntegerOrZero { min: 1024, max: 16 * 1024 * 1024 }, "0", NewConnections, V1_0)
        .note("0 means 32 KiB; every connection has two buffers."),
    key("proxy.fail-backend-list", NonEmptyTexts, "[]", Hot, Nextgen7AndV1_3_3)
        .note("Names of TiDB Pods or host:port. With the default routing rule TiProxy passes over it until the first configuration change after the start."),
    key("proxy.failover-timeout", COUNT, "60", Hot, Nextgen7AndV1_3_3).note("In seconds."),
    key("proxy.frontend-keepalive.cnt", ANY_INTEGER, "0", NewConnections, V1_0).ineffective(FRONTEND_ONLY_ENABLED),
    key("proxy.frontend-keepalive.enabled", Boolean, "true", NewConnections, V1_0),
    key("proxy.frontend-keepalive.idle", Duration, "\"0s\"", NewConnections, V1_0).ineffective(FRONTEND_ONLY_ENABLED),
    key("proxy.frontend-keepalive.intvl", Duration, "\"0s\"", NewConnections, V1_0).ineffective(FRONTEND_ONLY_ENABLED),
    key("proxy.frontend-keepalive.timeout", Duration, "\"0s\"", NewConnections, V1_0).ineffective(FRONTEND_ONLY_ENABLED),
    key("proxy.graceful-close-conn-timeout", SECONDS, "15", Hot, V1_0).note("In seconds; 0 or less cuts at once."),
    key("proxy.graceful-wait-before-shutdown", SECONDS, "0", Hot, V1_0).note("In seconds."),
    key("proxy.high-memory-usage-reject-threshold", Float { min: 0.0, max: 1.0 }, "0.9", Hot, V26AndV1_3_3)
        .note("A share of the memory limit; 0 turns it off, and TiProxy raises what is below 0.5 to 0.5."),
    key("proxy.max-connections", COUNT, "0", Hot, V1_0).note("0 means no limit."),
    key("proxy.pd-addrs", Text, "\"127.0.0.1:2379\"", Start, V1_0).managed_by("spec.cluster")
        .note("Hot from v1.4.0-nextgen.202510.7 and v26.3.0 on."),
    key("proxy.port-range", PortRange, "[]", Start, Nextgen7),
    key("proxy.proxy-protocol", OneOf(&["v2"]), "\"\"", NewConnections, V1_0)
        .note("With \"v2\" TiDB has to accept the proxy protocol as well."),
    key("proxy.public-endpoints", Networks, "[]", Hot, Nextgen2),

    key("api.addr", Text, "\"0.0.0.0:3080\"", Start, V1_0).managed_by("spec.template.spec.server.port.api"),
    key("api.proxy-protocol", Preferably(&["v2"]), "\"\"", Start, V1_0),

    key("log.encoder", Preferably(&["tidb", "json", "console"]), "\"tidb\"", Start, V1_0),
    key("log.level", LogLevel, "\"info\"", Hot, V1_0),
    key("log.log-file.filename", Text, "\"\"", Hot, V1_0).note("Needs a volume; \"\" logs to the Pod's log."),
    key("log.log-file.max-backups", ANY_INTEGER, "3", Hot, V1_0),
    key("log.log-file.max-days", ANY_INTEGER, "3", Hot, V1_0),
    key("log.log-file.max-size", ANY_INTEGER, "300", Hot, V1_0).note("In MB."),
    key("log.simple", Boolean, "false", Start, Nextgen7),

    key("labels", Labels, "{}", Hot, V1_1).managed_by("spec.template.spec.server.labels")
        .note("TiProxy merges labels: one is taken away by setting it to \"\"."),

    key("balance.conn-count.count-ratio-threshold", FloatAboveOne, "0.0", Hot, Nextgen5AndV1_3_3),
    key("balance.conn-count.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),
    key("balance.cpu.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),
    key("balance.health.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),
    key("balance.label-name", Text, "\"\"", Hot, V1_1).managed_by("spec.template.spec.balance.labelName"),
    key("balance.location.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),
    key("balance.memory.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),
    key("balance.policy", OneOf(&["resource", "location", "connection"]), "\"resource\"", Hot, V1_1),
    key("balance.routing-policy", OneOf(&["prefer-idle", "random"]), "\"prefer-idle\"", Hot, Nextgen4AndV1_3_3)
        .note("\"idlest\" stands in TiProxy's source, and TiProxy refuses it."),
    key("balance.routing-rule", OneOf(&["client_cidr", "proxy_cidr", "port"]), "\"\"", Start, Nextgen),
    key("balance.status.migrations-per-second", MIGRATIONS, "0.0", Hot, Nextgen4AndV1_3_3),

    key("ha.garp-burst-count", COUNT, "5", Start, AfterV26_3_1).ineffective(NOT_ON_KUBERNETES),
    key("ha.garp-refresh-count", COUNT, "30", Start, AfterV26_3_1).ineffective(NOT_ON_KUBERNETES),
    key("ha.interface", Text, "\"\"", Start, V1_2).ineffective(NOT_ON_KUBERNETES),
    key("ha.virtual-ip", Text, "\"\"", Start, V1_2).ineffective(NOT_ON_KUBERNETES),

    key("enable-traffic-replay", Boolean, "true", Hot, V1_3_1).managed_by("spec.template.spec.trafficReplay.enabled"),

    key("metering.aws.access-key", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.aws.assume-role-arn", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.aws.s3-force-path-style", Boolean, "false", Start, Nextgen).secret(),
    key("metering.aws.secret-access-key", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.aws.session-token", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.azure.account-key", Text, "\"\"", Start, Nextgen7).secret(),
    key("metering.azure.account-name", Text, "\"\"", Start, Nextgen7).secret(),
    key("metering.azure.sas-token", Text, "\"\"", Start, Nextgen7).secret(),
    key("metering.bucket", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.endpoint", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.localfs.base-path", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.localfs.create-dirs", Boolean, "false", Start, Nextgen).secret(),
    key("metering.localfs.permissions", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.oss.access-key", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.oss.assume-role-arn", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.oss.secret-access-key", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.oss.session-token", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.prefix", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.region", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.shared-pool-id", Text, "\"\"", Start, Nextgen).secret(),
    key("metering.type", Text, "\"\"", Start, Nextgen).secret(),

    key("security.encryption-key-path", Text, "\"\"", Hot, V1_4Beta),
    key("security.require-backend-tls", Boolean, "false", NewConnections, V1_0).managed_by(BACKEND),

    key("security.cluster-tls.auto-certs", Boolean, "false", Hot, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.cluster-tls.autocert-expire-duration", DurationText, "\"\"", Hot, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.cluster-tls.ca", Text, "\"\"", Hot, V1_0).managed_by(CLUSTER).note("Turning it on or off needs a new Pod."),
    key("security.cluster-tls.cert", Text, "\"\"", Hot, V1_0).managed_by(CLUSTER).note("Turning it on or off needs a new Pod."),
    key("security.cluster-tls.cert-allowed-cn", Texts, "[]", Hot, V1_4Beta).ineffective(CLIENT_COMMON_NAME),
    key("security.cluster-tls.key", Text, "\"\"", Hot, V1_0).managed_by(CLUSTER).secret().note("Turning it on or off needs a new Pod."),
    key("security.cluster-tls.min-tls-version", TlsVersion, "\"1.2\"", Start, V1_0),
    key("security.cluster-tls.rsa-key-size", ANY_INTEGER, "0", Hot, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.cluster-tls.skip-ca", Boolean, "false", Start, V1_0).managed_by(CLUSTER),

    key("security.server-http-tls.auto-certs", Boolean, "false", Start, V1_0).managed_by(SERVER),
    key("security.server-http-tls.autocert-expire-duration", DurationText, "\"\"", Start, V1_0),
    key("security.server-http-tls.ca", Text, "\"\"", Hot, V1_0).managed_by(SERVER)
        .note("Turning it on or off, or changing it beside cert-allowed-cn, needs a new Pod."),
    key("security.server-http-tls.cert", Text, "\"\"", Hot, V1_0).managed_by(SERVER).note("Turning it on or off needs a new Pod."),
    key("security.server-http-tls.cert-allowed-cn", Texts, "[]", Start, V1_4Beta),
    key("security.server-http-tls.key", Text, "\"\"", Hot, V1_0).managed_by(SERVER).secret().note("Turning it on or off needs a new Pod."),
    key("security.server-http-tls.min-tls-version", TlsVersion, "\"1.2\"", Start, V1_0),
    key("security.server-http-tls.rsa-key-size", ANY_INTEGER, "0", Start, V1_0),
    key("security.server-http-tls.skip-ca", Boolean, "false", Start, V1_0).managed_by(SERVER),

    key("security.server-tls.auto-certs", Boolean, "false", NewConnections, V1_0)
        .note("Without a certificate, TLS is offered with a temporary one that no client can verify."),
    key("security.server-tls.autocert-expire-duration", DurationText, "\"\"", NewConnections, V1_0),
    key("security.server-tls.ca", Text, "\"\"", NewConnections, V1_0).managed_by(MYSQL),
    key("security.server-tls.cert", Text, "\"\"", NewConnections, V1_0).managed_by(MYSQL),
    key("security.server-tls.cert-allowed-cn", Texts, "[]", NewConnections, V1_4Beta),
    key("security.server-tls.key", Text, "\"\"", NewConnections, V1_0).managed_by(MYSQL).secret(),
    key("security.server-tls.min-tls-version", TlsVersion, "\"1.2\"", NewConnections, V1_0),
    key("security.server-tls.rsa-key-size", ANY_INTEGER, "0", NewConnections, V1_0),
    key("security.server-tls.skip-ca", Boolean, "false", NewConnections, V1_0).managed_by(MYSQL),

    key("security.sql-tls.auto-certs", Boolean, "false", NewConnections, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.sql-tls.autocert-expire-duration", DurationText, "\"\"", NewConnections, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.sql-tls.ca", Text, "\"\"", NewConnections, V1_0).managed_by(BACKEND),
    key("security.sql-tls.cert", Text, "\"\"", NewConnections, V1_0).managed_by(BACKEND),
    key("security.sql-tls.cert-allowed-cn", Texts, "[]", NewConnections, V1_4Beta).ineffective(CLIENT_COMMON_NAME),
    key("security.sql-tls.key", Text, "\"\"", NewConnections, V1_0).managed_by(BACKEND).secret(),
    key("security.sql-tls.min-tls-version", TlsVersion, "\"1.2\"", NewConnections, V1_0),
    key("security.sql-tls.rsa-key-size", ANY_INTEGER, "0", NewConnections, V1_0).ineffective(CLIENT_AUTO_CERTS),
    key("security.sql-tls.skip-ca", Boolean, "false", NewConnections, V1_0).managed_by(BACKEND),

    dead("workdir", Text, "\"\"", "TiProxy reads it nowhere"),
    dead("proxy.tcp-keep-alive", Anything, "", "it is gone: use proxy.frontend-keepalive.enabled"),
    dead("proxy.server-version", Anything, "", "it is gone since v0.2.0: clients are told the version of a healthy TiDB"),
    dead("proxy.require-backend-tls", Anything, "", "it is called security.require-backend-tls now"),
    dead("api.enable-basic-auth", Anything, "", "TiProxy has no basic authentication any more: use spec.template.spec.security.tls.server or a NetworkPolicy"),
    dead("api.user", Anything, "", "TiProxy has no basic authentication any more: use spec.template.spec.security.tls.server or a NetworkPolicy"),
    dead("api.password", Anything, "", "TiProxy has no basic authentication any more: use spec.template.spec.security.tls.server or a NetworkPolicy"),
    dead("advance.ignore-wrong-namespace", Boolean, "true", "TiProxy ignores it from v1.3.2 on"),
    dead("metrics", Anything, "", "it is gone since v0.2.0: TiProxy serves its metrics on the API port"),
    dead("security.peer-tls", Anything, "", "it is gone since v0.2.0: TiProxies reach each other by security.cluster-tls"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::proxy_config::{classify, parse};

    /// A value of the kind that is not the default.
    fn another(key: &Key) -> &'static str {
        match key.kind {
            Boolean if key.default == "true" => "false",
            Boolean => "true",
            Integer { .. } => "7",
            IntegerOrZero { .. } => "2048",
            Float { .. } => "0.75",
            FloatAboveOne => "1.5",
            Text | Anything => "\"another\"",
            OneOf(values) | Preferably(values) => match values.last() {
                Some(&"v2") => "\"v2\"",
                Some(&"connection") => "\"connection\"",
                Some(&"random") => "\"random\"",
                Some(&"port") => "\"port\"",
                Some(&"console") => "\"console\"",
                other => panic!("{other:?}"),
            },
            LogLevel => "\"error\"",
            Duration => "\"7m\"",
            DurationText => "\"7h\"",
            TlsVersion => "\"1.3\"",
            Texts | NonEmptyTexts => "[\"another\"]",
            Networks => "[\"10.0.0.0/8\"]",
            PortRange => "[7000, 7001]",
            BackendClusters => "[{ name = \"a\", pd-addrs = \"a:1\" }]",
            Labels => "{ another = \"label\" }",
        }
    }

    #[test]
    fn every_key_takes_its_default_without_a_word() {
        for key in KEYS.iter().filter(|key| !key.dead) {
            let user = parse(&format!("{} = {}", key.path, key.default)).expect(key.path);
            assert_eq!(user.warnings(), [], "{}", key.path);
            assert!(key.default_value().is_some(), "{}", key.path);
        }
    }

    #[test]
    fn a_change_of_every_key_needs_what_the_table_says() {
        for key in KEYS {
            let text = format!("{} = {}", key.path, another(key));
            parse(&text).expect(key.path);
            let change = classify("", &text);
            let path = if matches!(key.kind, Labels) {
                "labels.another"
            } else {
                key.path
            };
            let found: Vec<(&str, &String)> = [
                ("hot", &change.hot),
                ("new connections", &change.new_connections),
                ("start", &change.start),
                ("ignored", &change.ignored),
            ]
            .into_iter()
            .flat_map(|(effect, paths)| paths.iter().map(move |path| (effect, path)))
            .collect();
            // TLS that is turned on at these two is the one place where a key needs more than the table says.
            let turned_on = ["security.cluster-tls.", "security.server-http-tls."]
                .iter()
                .any(|object| {
                    key.path
                        .strip_prefix(object)
                        .is_some_and(|name| ["ca", "cert", "key"].contains(&name))
                });
            let expected = match key.effect {
                _ if key.dead || key.ineffective.is_some() => "ignored",
                _ if turned_on => "start",
                Hot => "hot",
                NewConnections => "new connections",
                Start => "start",
            };
            assert_eq!(found, [(expected, &path.to_owned())]);
        }
    }

    #[test]
    fn paths_are_unique_plain_and_no_ones_prefix() {
        let paths: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for path in &paths {
            assert!(
                path.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"-.0123456789".contains(&byte)),
                "{path}"
            );
            let below = format!("{path}.");
            assert!(!paths.iter().any(|other| other.starts_with(&below)), "{path}");
        }
    }

    #[test]
    fn what_may_be_secret_is_marked() {
        for key in KEYS {
            let secret = key.path.starts_with("metering.")
                || ["key", "password", "secret"]
                    .iter()
                    .any(|name| key.path.ends_with(&format!(".{name}")));
            assert!(key.secret || !secret, "{}", key.path);
        }
    }
}
