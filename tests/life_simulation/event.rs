//! What happens to the cluster.

use serde_json::{Value, json};
use tiproxy_standin::testing::random::Random;

use crate::cluster::Cluster;

/// One thing after the other.
pub(crate) fn happen(cluster: &mut Cluster, random: &mut Random) {
    match random.below(100) {
        0..30 => cluster.reconcile_group(),
        30..55 => cluster.reconcile_one(random),
        55..80 => {
            let seconds = random.one_of(&[1, 1, 2, 3, 5, 15]);
            cluster.advance(seconds, random);
        }
        80..92 => edit(cluster, random),
        92..95 => hurt(cluster, random),
        95 => cluster.outage = !cluster.outage,
        96 => cluster.suspended = !cluster.suspended,
        97 => cluster.paused = random.once_in(3),
        98 => cluster.reach(random),
        _ => cluster.delete_instance(random),
    }
}

fn edit(cluster: &mut Cluster, random: &mut Random) {
    let spec = match random.below(12) {
        0..3 => {
            // Versions of 1.9 never become ready.
            let minor = random.one_of(&[3, 3, 3, 9]);
            let patch = random.below(9);
            json!({"template": {"spec": {"version": format!("v1.{minor}.{patch}")}}})
        }
        3..5 => {
            cluster.roll_back(random);
            return;
        }
        5 => {
            let level = random.one_of(&["info", "warn", "debug"]);
            json!({"template": {"spec": {"config": format!("log.level = \"{level}\"")}}})
        }
        6..9 => json!({"replicas": random.below(6)}),
        9 => json!({"maxSurge": random.below(3), "maxUnavailable": random.below(3)}),
        10 => json!({"paused": random.once_in(3)}),
        _ => {
            let timeout = random.one_of(&[0, 5, 20, 60]);
            let quiet = random.one_of(&[0, 3, 10]);
            json!({"template": {"spec": {"drain": {"timeoutSeconds": timeout, "quietSeconds": quiet}}}})
        }
    };
    cluster.edit(&spec);
}

fn hurt(cluster: &mut Cluster, random: &mut Random) {
    let kinds: [fn(&mut Cluster, &mut Random); 4] = [
        Cluster::kill_pod,
        Cluster::evict_pod,
        Cluster::restart_container,
        Cluster::unlabel_pod,
    ];
    random.one_of(&kinds)(cluster, random);
}

/// A merge patch.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
