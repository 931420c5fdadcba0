//! What TiProxy refuses although it is TOML of the right types.

use std::collections::BTreeSet;

use super::key::Value;
use super::{Config, LoadError};

/// Checks a configuration, and puts right what TiProxy puts right silently.
pub fn check(config: &mut Config) -> Result<(), LoadError> {
    if config.text("workdir").is_empty() {
        let directory = std::env::current_dir().unwrap_or_default().join("work");
        config.set("workdir", Value::Text(directory.to_string_lossy().into_owned()));
    }
    one_of(config, "proxy.proxy-protocol", &["", "v2"])?;
    let buffer = config.integer("proxy.conn-buffer-size");
    if buffer > 0 && !(1024..=16 * 1024 * 1024).contains(&buffer) {
        return refuse("conn-buffer-size must be between 1K and 16M");
    }
    if config.text("balance.policy").is_empty() {
        config.set("balance.policy", Value::Text("resource".to_owned()));
    }
    one_of(config, "balance.policy", &["resource", "location", "connection"])?;
    // Keys that the older line does not have.
    one_of(
        config,
        "balance.routing-rule",
        &["", "client_cidr", "proxy_cidr", "port"],
    )?;
    one_of(config, "balance.routing-policy", &["", "prefer-idle", "random"])?;
    factors(config)?;
    memory(config)?;
    ports(config)?;
    failover(config)?;
    clusters(config)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, LoadError> {
    Err(LoadError(reason.into()))
}

fn one_of(config: &Config, path: &str, allowed: &[&str]) -> Result<(), LoadError> {
    let value = config.text(path);
    if allowed.contains(&value) {
        Ok(())
    } else {
        refuse(format!("invalid {path}: {value}"))
    }
}

fn factors(config: &Config) -> Result<(), LoadError> {
    for (path, value) in &config.values {
        let Value::Float(number) = value else {
            continue;
        };
        if path.ends_with(".migrations-per-second") && *number < 0.0 {
            return refuse(format!("{path} must be greater than or equal to 0"));
        }
        if path.ends_with(".count-ratio-threshold") && *number != 0.0 && *number <= 1.0 {
            return refuse(format!("{path} must be 0 or greater than 1"));
        }
    }
    Ok(())
}

fn memory(config: &mut Config) -> Result<(), LoadError> {
    const PATH: &str = "proxy.high-memory-usage-reject-threshold";
    let Some(Value::Float(threshold)) = config.values.get(PATH) else {
        return Ok(());
    };
    if !(0.0..=1.0).contains(threshold) {
        return refuse(format!("{PATH} must be between 0 and 1"));
    }
    if *threshold > 0.0 && *threshold < 0.5 {
        config.set(PATH, Value::Float(0.5));
    }
    Ok(())
}

fn ports(config: &Config) -> Result<(), LoadError> {
    let Some(Value::Integers(range)) = config.values.get("proxy.port-range") else {
        return Ok(());
    };
    match range.as_slice() {
        [] => Ok(()),
        [start, end] if start <= end && *start >= 1 && *end <= 65535 => {
            if addresses(config.text("proxy.addr")).count() == 1 {
                Ok(())
            } else {
                refuse("proxy.addr must contain exactly one host when proxy.port-range is set")
            }
        }
        _ => refuse("proxy.port-range is invalid"),
    }
}

fn failover(config: &mut Config) -> Result<(), LoadError> {
    const PATH: &str = "proxy.fail-backend-list";
    if config.integer("proxy.failover-timeout") < 0 {
        return refuse("proxy.failover-timeout must be greater than or equal to 0");
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for name in config.texts(PATH) {
        let name = name.trim();
        if name.is_empty() {
            return refuse(format!("{PATH} has an empty item"));
        }
        if seen.insert(name) {
            list.push(name.to_owned());
        }
    }
    if config.values.contains_key(PATH) {
        config.set(PATH, Value::Texts(list));
    }
    Ok(())
}

fn clusters(config: &Config) -> Result<(), LoadError> {
    let Some(Value::Clusters(clusters)) = config.values.get("proxy.backend-clusters") else {
        return Ok(());
    };
    let mut names = BTreeSet::new();
    for cluster in clusters {
        if cluster.name.trim().is_empty() {
            return refuse("proxy.backend-clusters has an entry without a name");
        }
        if !names.insert(cluster.name.trim()) {
            return refuse(format!(
                "proxy.backend-clusters has the name {} twice",
                cluster.name
            ));
        }
        let mut count = 0;
        for address in addresses(&cluster.pd_addrs) {
            count += 1;
            if !is_host_port(address) {
                return refuse(format!("invalid proxy.backend-clusters pd-addrs {address}"));
            }
        }
        if count == 0 {
            return refuse("proxy.backend-clusters has an entry without pd-addrs");
        }
        if cluster.ns_servers.iter().any(String::is_empty) {
            return refuse("proxy.backend-clusters has an empty entry in ns-servers");
        }
    }
    Ok(())
}

/// The addresses of a list with commas.
pub fn addresses(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
}

/// As Go's `net.SplitHostPort` sees it.
fn is_host_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !port.contains([']', '[', '/'])
            && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
    })
}
