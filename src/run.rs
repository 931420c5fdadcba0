//! Wires everything and runs it until the end.

use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::name;
use crate::cli::RunArguments;
use crate::context::Context;
use crate::group;
use crate::group::pace::Pace;
use crate::group::verdict::Verdicts;
use crate::instance;
use crate::instance::failures::Failures;
use crate::metrics::Metrics;
use crate::operator_pods::OperatorPods;
use crate::proxy_api::client::Client as AskClient;
use crate::proxy_api::poller::Poller;
use crate::proxy_api::{CertificateError, CertificateFiles, Proxies};
use crate::report::Reporter;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Clock;
use crate::runtime::event::Events;
use crate::runtime::jitter::Jitter;
use crate::runtime::notes::Notes;
use crate::runtime::runner::{self, Queue, Settings};
use crate::runtime::write::Writer;
use crate::server::{Readiness, Server, ServerError};
use crate::watches::{Queues, Watches};

/// How long reconciles may go on after the request to stop. What is given up then is settled like a crash: by the next
/// operator, which should not have to wait.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why the operator could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing says how to reach a cluster.
    #[error("cannot find a Kubernetes cluster; run inside one, or set KUBECONFIG to a file that names one")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be made.
    #[error("cannot make a client for the Kubernetes cluster")]
    Client(#[source] Box<kube::Error>),
    /// A metric cannot be registered.
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The server cannot run.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signal(#[source] std::io::Error),
    /// The certificate for TiProxy's API cannot be used.
    #[error("cannot show a certificate to TiProxy's API")]
    Certificate(#[from] CertificateError),
    /// A part of the operator ended that should run for ever.
    #[error("{0} ended although nobody asked for it")]
    Ended(&'static str),
}

/// Runs the operator until it is told to stop (SIGTERM or SIGINT).
pub async fn run(arguments: RunArguments) -> Result<(), RunError> {
    let metrics = Metrics::new()?;
    let shutdown = CancellationToken::new();
    let poller = poller(&arguments, &metrics)?;
    let client = client(&metrics).await?;
    let (context, event_task) = context(&client, &arguments, &metrics, &shutdown);
    metrics.show_connections(&context.pods, &context.proxies)?;
    let queues = Queues {
        groups: Queue::new(),
        instances: Queue::new(),
    };

    let server = Server::bind(arguments.bind_address).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %server.address(),
        namespace = arguments.watch_namespace.as_deref().unwrap_or("all"),
        "started"
    );
    let watches = Watches {
        client,
        namespace: arguments.watch_namespace.clone(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
    };
    watches.spawn(&context, &queues);

    let mut parts = JoinSet::new();
    parts.spawn(serve(
        server,
        metrics.clone(),
        readiness(&context),
        shutdown.clone(),
    ));
    {
        let (context, queue, shutdown) = (context.clone(), queues.instances.clone(), shutdown.clone());
        parts.spawn(async move {
            poller.run(context, queue, shutdown).await;
            ("the poller of TiProxies", Ok(()))
        });
    }
    spawn_controllers(&mut parts, &context, &queues, &arguments, &metrics, &shutdown);
    let result = wait(&mut parts, &shutdown).await;
    shutdown.cancel();
    while parts.join_next().await.is_some() {}
    // The last Events have a second to get out.
    let _ = event_task.await;
    tracing::info!("stopped");
    result
}

async fn client(metrics: &Metrics) -> Result<Client, RunError> {
    let config = Config::infer()
        .await
        .map_err(|error| RunError::Config(Box::new(error)))?;
    let host = config
        .cluster_url
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let layer = metrics.client_layer(&host);
    let builder = ClientBuilder::try_from(config).map_err(|error| RunError::Client(Box::new(error)))?;
    Ok(builder.with_layer(&layer).build())
}

fn poller(arguments: &RunArguments, metrics: &Metrics) -> Result<Poller, CertificateError> {
    let files = arguments
        .proxy_client_certificate
        .clone()
        .zip(arguments.proxy_client_key.clone())
        .map(|(certificate, key)| CertificateFiles { certificate, key });
    Ok(Poller {
        client: Arc::new(AskClient::new(files)?),
        interval: Duration::from_secs(u64::from(arguments.proxy_poll_interval)),
        metrics: metrics.clone(),
        jitter: Jitter::random(),
    })
}

fn context(
    client: &Client,
    arguments: &RunArguments,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> (Context, tokio::task::JoinHandle<()>) {
    let clock = Clock::system();
    let (events, task) = Events::spawn(
        client.clone(),
        &arguments.identity,
        metrics.clone(),
        clock.clone(),
        shutdown.clone(),
    );
    let context = Context {
        groups: Cache::new(),
        instances: Cache::new(),
        pods: Cache::new(),
        config_maps: Cache::new(),
        volume_claims: Cache::new(),
        services: Cache::new(),
        disruption_budgets: Cache::new(),
        network_policies: Cache::new(),
        pd_services: Cache::new(),
        failed_mounts: Cache::new(),
        clusters: Cache::new(),
        nodes: Cache::new(),
        proxies: Proxies::default(),
        writer: Writer::new(client.clone(), name::MANAGER_GROUP),
        drains: metrics.drains(),
        reporter: Reporter::new(events),
        clock,
        failures: Failures::default(),
        deletions: Notes::default(),
        pace: Pace::default(),
        operator_pods: OperatorPods::find(
            arguments.operator_namespace.as_deref(),
            &arguments.operator_labels,
        ),
        verdicts: Verdicts::default(),
    };
    (context, task)
}

fn readiness(context: &Context) -> Readiness {
    let mut readiness = Readiness::new();
    for kind in context.cold() {
        let context = context.clone();
        readiness = readiness.and(&format!("cache of {kind}"), move || {
            !context.cold().contains(&kind)
        });
    }
    readiness
}

async fn serve(
    server: Server,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> (&'static str, Result<(), RunError>) {
    (
        "the HTTP server",
        server
            .run(metrics, Arc::new(readiness), shutdown)
            .await
            .map_err(RunError::Server),
    )
}

fn spawn_controllers(
    parts: &mut JoinSet<(&'static str, Result<(), RunError>)>,
    context: &Context,
    queues: &Queues,
    arguments: &RunArguments,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) {
    let settings = Settings {
        workers: usize::from(arguments.workers),
        timeout: Duration::from_secs(u64::from(arguments.reconcile_timeout)),
        grace: STOP_GRACE,
        // What was refused may be allowed meanwhile, and no event tells.
        most_backoff: Duration::from_mins(1),
        ..Settings::default()
    };
    let (queues, context, metrics, shutdown) =
        (queues.clone(), context.clone(), metrics.clone(), shutdown.clone());
    {
        let (settings, context, metrics, shutdown) = (
            settings.clone(),
            context.clone(),
            metrics.clone(),
            shutdown.clone(),
        );
        parts.spawn(async move {
            let warm = {
                let context = context.clone();
                move || context.is_warm()
            };
            let reconcile = move |key| group::reconcile(context.clone(), key);
            runner::run(
                "tiproxygroup",
                warm,
                queues.groups,
                reconcile,
                settings,
                &metrics,
                shutdown,
            )
            .await;
            ("the group controller", Ok(()))
        });
    }
    let context = Context {
        writer: context.writer.named(name::MANAGER_INSTANCE),
        ..context
    };
    parts.spawn(async move {
        let warm = {
            let context = context.clone();
            move || context.is_warm()
        };
        let reconcile = move |key| instance::reconcile(context.clone(), key);
        runner::run(
            "tiproxy",
            warm,
            queues.instances,
            reconcile,
            settings,
            &metrics,
            shutdown,
        )
        .await;
        ("the instance controller", Ok(()))
    });
}

/// Waits for a signal, or for a part that ends by itself, which the kubelet mends by a restart.
async fn wait(
    parts: &mut JoinSet<(&'static str, Result<(), RunError>)>,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        Some(ended) = parts.join_next() => {
            return match ended {
                Ok((part, Ok(()))) => Err(RunError::Ended(part)),
                Ok((_, Err(error))) => Err(error),
                Err(_) => Err(RunError::Ended("a task")),
            };
        }
    };
    tracing::info!(signal = name, "stopping");
    shutdown.cancel();
    Ok(())
}
