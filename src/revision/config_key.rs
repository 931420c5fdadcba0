//! The keys of TiProxy's configuration that a revision is made from.
//!
//! They are written down here, and not taken from the key table at run time: when the table learns a key or changes its
//! mind about one, the revisions of specs that set it would change, and with them the Pods of every user of it, at the
//! next upgrade of the operator. So a person decides; the test below says between what.

/// Read once, at the start: a change needs a new Pod.
pub(super) const AT_THE_START: &[&str] = &[
    "api.proxy-protocol",
    "balance.routing-rule",
    "log.encoder",
    "log.simple",
    "metering.aws.access-key",
    "metering.aws.assume-role-arn",
    "metering.aws.s3-force-path-style",
    "metering.aws.secret-access-key",
    "metering.aws.session-token",
    "metering.azure.account-key",
    "metering.azure.account-name",
    "metering.azure.sas-token",
    "metering.bucket",
    "metering.endpoint",
    "metering.localfs.base-path",
    "metering.localfs.create-dirs",
    "metering.localfs.permissions",
    "metering.oss.access-key",
    "metering.oss.assume-role-arn",
    "metering.oss.secret-access-key",
    "metering.oss.session-token",
    "metering.prefix",
    "metering.region",
    "metering.shared-pool-id",
    "metering.type",
    "proxy.port-range",
    "security.cluster-tls.min-tls-version",
    "security.server-http-tls.autocert-expire-duration",
    "security.server-http-tls.cert-allowed-cn",
    "security.server-http-tls.min-tls-version",
    "security.server-http-tls.rsa-key-size",
];

/// Taken over by a running TiProxy: a change needs a new Pod only where every change is to restart.
pub(super) const WHILE_IT_RUNS: &[&str] = &[
    "balance.conn-count.count-ratio-threshold",
    "balance.conn-count.migrations-per-second",
    "balance.cpu.migrations-per-second",
    "balance.health.migrations-per-second",
    "balance.label-name",
    "balance.location.migrations-per-second",
    "balance.memory.migrations-per-second",
    "balance.policy",
    "balance.routing-policy",
    "balance.status.migrations-per-second",
    "labels",
    "log.level",
    "log.log-file.filename",
    "log.log-file.max-backups",
    "log.log-file.max-days",
    "log.log-file.max-size",
    "proxy.backend-clusters",
    "proxy.backend-healthy-keepalive.cnt",
    "proxy.backend-healthy-keepalive.enabled",
    "proxy.backend-healthy-keepalive.idle",
    "proxy.backend-healthy-keepalive.intvl",
    "proxy.backend-healthy-keepalive.timeout",
    "proxy.backend-unhealthy-keepalive.cnt",
    "proxy.backend-unhealthy-keepalive.enabled",
    "proxy.backend-unhealthy-keepalive.idle",
    "proxy.backend-unhealthy-keepalive.intvl",
    "proxy.backend-unhealthy-keepalive.timeout",
    "proxy.conn-buffer-size",
    "proxy.fail-backend-list",
    "proxy.failover-timeout",
    "proxy.frontend-keepalive.enabled",
    "proxy.graceful-close-conn-timeout",
    "proxy.graceful-wait-before-shutdown",
    "proxy.high-memory-usage-reject-threshold",
    "proxy.max-connections",
    "proxy.proxy-protocol",
    "proxy.public-endpoints",
    "security.encryption-key-path",
    "security.server-tls.auto-certs",
    "security.server-tls.autocert-expire-duration",
    "security.server-tls.cert-allowed-cn",
    "security.server-tls.min-tls-version",
    "security.server-tls.rsa-key-size",
    "security.sql-tls.min-tls-version",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::proxy_config::{Effect, KEYS, Key};

    /// Whether what the user writes of a key reaches TiProxy, and does something there.
    fn is_the_users(key: &Key) -> bool {
        let merged = ["labels", "balance.label-name"].contains(&key.path);
        !key.dead && key.ineffective.is_none() && (key.managed.is_none() || merged)
    }

    #[track_caller]
    fn assert_same(listed: &[&str], effects: &[Effect], name: &str) {
        let listed: BTreeSet<&str> = listed.iter().copied().collect();
        let keys = KEYS.iter().filter(|key| is_the_users(key));
        let known: BTreeSet<&str> = keys
            .filter(|key| effects.contains(&key.effect))
            .map(|key| key.path)
            .collect();
        let learnt: Vec<_> = known.difference(&listed).collect();
        let lost: Vec<_> = listed.difference(&known).collect();
        assert!(
            learnt.is_empty() && lost.is_empty(),
            "{name} lacks {learnt:?} and has {lost:?} beside the key table. A key that is added here, or moved between \
             the lists, changes the revision of each spec that sets it, so that the next upgrade of the operator \
             replaces the Pods of all who do: of a key that the operator has not known before, those who were warned \
             of it. A key that is not listed never asks for a new Pod. Add a new key and say so in CHANGELOG.md; move \
             or remove one only if a change of it is lost otherwise"
        );
    }

    #[test]
    fn the_lists_are_those_of_the_key_table() {
        assert_same(AT_THE_START, &[Effect::Start], "AT_THE_START");
        assert_same(
            WHILE_IT_RUNS,
            &[Effect::Hot, Effect::NewConnections],
            "WHILE_IT_RUNS",
        );
    }
}
