//! The client against servers that behave well, and others.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::connection::{MOST_CONFIG_BYTES, MOST_HEALTH_BYTES};
use super::*;
use crate::proxy_api::question::AskConfig;

/// A server that gives these answers on one connection, and what it was asked for.
async fn server(answers: Vec<String>) -> (Endpoint, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        for answer in answers {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    return asked;
                }
                request.push(byte[0]);
            }
            let mut body = vec![0; body_length(&request)];
            stream.read_exact(&mut body).await.unwrap();
            request.extend(body);
            asked.push(String::from_utf8(request).unwrap());
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return asked;
            }
        }
        asked
    });
    (Endpoint { address, tls: false }, task)
}

fn body_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(0, |length| length.parse().unwrap())
}

fn reply(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn ask(answers: Vec<String>) -> Result<Answer, AskError> {
    let (endpoint, _task) = server(answers).await;
    plain(endpoint).await
}

/// Asks for no more than health and metrics, without a certificate.
async fn plain(endpoint: Endpoint) -> Result<Answer, AskError> {
    let client = Client::new(None).unwrap();
    let said = client.ask(endpoint, &Question::default()).await?;
    assert!(said.ordered.is_none() && said.config.is_none());
    Ok(said.answer)
}

/// What one says, and the requests that it got, without their heads.
async fn said(question: &Question, answers: Vec<String>) -> (Said, Vec<String>) {
    let (endpoint, task) = server(answers).await;
    let client = Client::new(None).unwrap();
    let said = client.ask(endpoint, question).await.unwrap();
    let requests = task.await.unwrap();
    let short = requests.iter().map(|request| {
        let (line, rest) = request.split_once(" HTTP/1.1").unwrap();
        format!("{line} {}", rest.rsplit("\r\n\r\n").next().unwrap())
    });
    (said, short.map(|request| request.trim().to_owned()).collect())
}

#[tokio::test]
async fn health_and_metrics_are_read_over_one_connection() {
    let (endpoint, task) = server(vec![
        reply("200 OK", "{\"config_checksum\":1}"),
        // In pieces, as a large page comes.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n18\r\ntiproxy_server_connectio\r\n5\r\nns 3\n\r\n0\r\n\r\n"
            .to_owned(),
    ])
    .await;
    let answer = plain(endpoint).await.unwrap();
    assert_eq!((answer.health, answer.connections), (Health::Healthy, Some(3)));
    let asked = task.await.unwrap();
    let lines: Vec<_> = asked
        .iter()
        .map(|request| request.lines().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["GET /api/debug/health HTTP/1.1", "GET /metrics/ HTTP/1.1"]
    );
    let host = format!("host: {}", endpoint.address);
    assert!(asked[0].to_lowercase().contains(&host), "{}", asked[0]);
}

#[tokio::test]
async fn what_keeps_a_proxy_from_being_healthy_is_read() {
    for (body, reason) in [
        ("{\"config_checksum\":1}", None),
        ("{\"unhealthy_reason\":\"\"}", None),
        ("not even JSON", None),
        (
            "{\"unhealthy_reason\":\"server is not ready\"}",
            Some("server is not ready"),
        ),
    ] {
        let answer = ask(vec![reply("502 Bad Gateway", body), reply("200 OK", "")])
            .await
            .unwrap();
        let reason = reason.map(ToOwned::to_owned);
        assert_eq!(answer.health, Health::Unhealthy { reason }, "{body}");
    }
    let answer = ask(vec![
        reply("200 OK", "{\"config_checksum\":7}"),
        reply("200 OK", ""),
    ])
    .await
    .unwrap();
    assert_eq!(answer.config_checksum, Some(7));
    let starting = ask(vec![reply("500 Internal Server Error", "service not ready")])
        .await
        .unwrap();
    assert_eq!(starting, Answer::default());
}

#[tokio::test]
async fn every_other_answer_is_an_error_of_its_kind() {
    for (answers, expected) in [
        (vec![reply("404 Not Found", "")], "invalid"),
        (vec![reply("301 Moved Permanently", "")], "invalid"),
        (vec![reply("200 OK", ""), reply("404 Not Found", "")], "invalid"),
        (vec!["SSH-2.0-x\r\n\r\n".to_owned()], "invalid"),
        (
            vec!["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab".to_owned()],
            "invalid",
        ),
        (
            vec![reply("200 OK", &"x".repeat(MOST_HEALTH_BYTES + 1))],
            "invalid",
        ),
        (vec![], "invalid"),
    ] {
        let error = ask(answers.clone()).await.unwrap_err();
        assert_eq!(error.as_str(), expected, "{answers:?}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = Endpoint {
        address: nobody,
        tls: false,
    };
    assert_eq!(plain(endpoint).await.unwrap_err().as_str(), "unreachable");
}

const HEALTHY: &str = "{\"config_checksum\":7}";
const MARKED: &str = "{\"config_checksum\":7,\"unhealthy_reason\":\"leaving: tiproxy-operator\"}";

#[tokio::test]
async fn its_health_is_overridden_when_it_leaves_and_no_longer() {
    const MARK: &str = "PUT /api/debug/health {\"healthy\":false,\"reason\":\"leaving: tiproxy-operator\"}";
    const UNMARK: &str = "DELETE /api/debug/health";
    use Obedience::{Complies, HasNoOverride};
    let healthy = reply("200 OK", HEALTHY);
    let marked = reply("502 Bad Gateway", MARKED);
    for (leaves, health, status, request, obedience) in [
        (true, &healthy, "200 OK", MARK, Some(Complies)),
        (true, &healthy, "404 Not Found", MARK, Some(HasNoOverride)),
        (
            true,
            &healthy,
            "405 Method Not Allowed",
            MARK,
            Some(HasNoOverride),
        ),
        (true, &healthy, "400 Bad Request", MARK, None),
        (true, &healthy, "500 Internal Server Error", MARK, None),
        (false, &marked, "200 OK", UNMARK, Some(Complies)),
        (false, &marked, "404 Not Found", UNMARK, Some(HasNoOverride)),
    ] {
        let question = Question {
            leaves,
            ..Question::default()
        };
        let metrics = reply("200 OK", "tiproxy_server_connections 3");
        let answers = vec![health.clone(), metrics, reply(status, "\"\"")];
        let (said, requests) = said(&question, answers).await;
        assert_eq!(requests, ["GET /api/debug/health", "GET /metrics/", request]);
        assert_eq!(said.answer.connections, Some(3), "{status}");
        assert_eq!(said.ordered.unwrap().1.ok(), obedience, "{status}");
    }
}

#[tokio::test]
async fn what_it_runs_with_is_asked_for_when_it_may_have_changed() {
    let question = |config| Question {
        config,
        ..Question::default()
    };
    let page = || vec![reply("200 OK", HEALTHY), reply("200 OK", "")];
    let toml = "[labels]\na = 'b'\n".to_owned();
    for (config, answer, expected) in [
        (AskConfig::Always, reply("200 OK", &toml), Some(Ok(toml.clone()))),
        (
            AskConfig::UnlessChecksum(Some(6)),
            reply("200 OK", &toml),
            Some(Ok(toml.clone())),
        ),
        (
            AskConfig::Always,
            reply("404 Not Found", ""),
            Some(Err("invalid")),
        ),
        (
            AskConfig::Always,
            reply("200 OK", &"#".repeat(MOST_CONFIG_BYTES + 1)),
            Some(Err("invalid")),
        ),
        (
            AskConfig::Always,
            "no HTTP\r\n\r\n".to_owned(),
            Some(Err("invalid")),
        ),
    ] {
        let (said, requests) = said(&question(config), [page(), vec![answer]].concat()).await;
        assert_eq!(
            requests,
            ["GET /api/debug/health", "GET /metrics/", "GET /api/admin/config/"]
        );
        let found = said.config.map(|config| config.map_err(|error| error.as_str()));
        assert_eq!(found, expected, "{config:?}");
        assert_eq!(said.answer.health, Health::Healthy);
    }
    for config in [AskConfig::Never, AskConfig::UnlessChecksum(Some(7))] {
        let (said, requests) = said(&question(config), page()).await;
        assert_eq!(requests.len(), 2, "{config:?}");
        assert!(said.config.is_none());
    }
}

#[tokio::test]
async fn what_goes_wrong_afterwards_does_not_spoil_what_was_read() {
    let question = Question {
        leaves: true,
        config: AskConfig::Always,
        ..Question::default()
    };
    let metrics = reply("200 OK", "tiproxy_server_connections 3");
    let (endpoint, _task) = server(vec![reply("200 OK", HEALTHY), metrics, String::new()]).await;
    let client = Client::new(None).unwrap();
    let begin = std::time::Instant::now();
    let said = client.ask(endpoint, &question).await.unwrap();
    assert!(begin.elapsed() < MOST_TIME * 2, "all of it has one limit");
    assert_eq!(said.answer.connections, Some(3));
    let failed = [
        said.ordered.unwrap().1.unwrap_err(),
        said.config.unwrap().unwrap_err(),
    ];
    assert_eq!(failed.map(|error| error.as_str()), ["timeout", "timeout"]);
    // One that is about to start is asked nothing else.
    let starting = reply("500 Internal Server Error", "\"service not ready\"");
    let (said, requests) = self::said(&question, vec![starting]).await;
    assert_eq!((said.answer, requests.len()), (Answer::default(), 1));
}

#[tokio::test]
async fn one_that_never_answers_is_given_up() {
    let (endpoint, _task) = server(vec![String::new()]).await;
    let begin = std::time::Instant::now();
    let error = plain(endpoint).await.unwrap_err();
    assert_eq!(error.as_str(), "timeout");
    assert!(begin.elapsed() < MOST_TIME * 2);
}

#[tokio::test]
async fn plain_text_where_tls_is_expected_is_an_error_of_tls() {
    let (endpoint, _task) = server(vec![reply("200 OK", "")]).await;
    let endpoint = Endpoint {
        tls: true,
        ..endpoint
    };
    let error = plain(endpoint).await.unwrap_err();
    assert!(["tls", "timeout"].contains(&error.as_str()), "{error}");
}

/// Certificates that were made for these tests: an authority, and a pair of a server and of a client that it signed.
fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/proxy_api/client/pem")
        .join(name)
}

fn client_files() -> CertificateFiles {
    CertificateFiles {
        certificate: pem("client.crt"),
        key: pem("client.key"),
    }
}

/// A server with TLS that demands a client's certificate.
async fn demanding_server() -> Endpoint {
    let provider = Arc::new(default_provider());
    let mut authorities = RootCertStore::empty();
    authorities
        .add(CertificateDer::from_pem_file(pem("ca.crt")).unwrap())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(pem("server.crt")).unwrap()],
            PrivateKeyDer::from_pem_file(pem("server.key")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            for answer in [
                reply("200 OK", "{}"),
                reply("200 OK", "tiproxy_server_connections 4"),
            ] {
                let mut request = [0; 1024];
                if stream.read(&mut request).await.unwrap_or(0) > 0 {
                    // The client may have gone.
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        }
    });
    Endpoint { address, tls: true }
}

#[tokio::test]
async fn the_servers_name_does_not_matter_and_the_clients_certificate_is_shown() {
    let endpoint = demanding_server().await;
    let client = Client::new(Some(client_files())).unwrap();
    let said = client.ask(endpoint, &Question::default()).await.unwrap();
    let answer = said.answer;
    assert_eq!((answer.health, answer.connections), (Health::Healthy, Some(4)));
    let error = plain(endpoint).await.unwrap_err();
    assert!(["tls", "invalid"].contains(&error.as_str()), "{error}");
}

#[test]
fn files_that_do_not_fit_together_are_named() {
    for (files, expected) in [
        (
            CertificateFiles {
                key: pem("server.key"),
                ..client_files()
            },
            "cannot use the certificate in ",
        ),
        (
            CertificateFiles {
                certificate: pem("client.key"),
                ..client_files()
            },
            "cannot read ",
        ),
    ] {
        let error = Client::new(Some(files)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
