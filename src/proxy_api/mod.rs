//! TiProxy's HTTP API: what the running TiProxies say of themselves, and the one thing that they are told.
//!
//! One task, the [`poller`], asks all of them, a bounded number at once, each every so often. What they say is kept
//! in [`Proxies`] as data; a TiProxy's controller is called only when something changed that it decides by. No
//! reconcile asks a TiProxy, and none waits for an answer.
//!
//! One that leaves is asked every second, and where its version allows it, it is told to call itself unhealthy, so that
//! whoever looks at its health sends it no client any more. What a TiProxy runs with is compared with its `ConfigMap`
//! when either may have changed; only which keys differ is kept.
//!
//! Pods are reached by their address. The server's certificate is not verified: it is made for names that TiDB and
//! the dashboard use, and the operator may read no Secret, so it has no authority to verify it by. What is read is no
//! secret to the operator, which writes the `ConfigMap`s; who may reach the port is for a `NetworkPolicy` to say.

pub mod client;
mod exposition;
mod observation;
pub mod poller;
mod proxies;
pub mod question;
mod schedule;
mod target;
mod tls;

pub use observation::{Answer, Backend, ConfigReading, Health, Observation, Reach};
pub use proxies::{Migrations, Proxies, ProxyState};
pub use tls::{CertificateError, CertificateFiles};
