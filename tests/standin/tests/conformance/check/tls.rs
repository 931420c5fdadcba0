//! TLS.

use std::time::Duration;

use tiproxy_standin::flags::Line;

use crate::certificates::{Authority, Mount, client};
use crate::http::Endpoint;
use crate::mysql::{Client, Refused};
use crate::subject::{Directory, Start};
use crate::wait::{eventually, expect};

fn mounted(directory: &Directory, authority: &Authority) -> Mount {
    authority.mount(&directory.0.join("tls"), &authority.pair("tiproxy"))
}

/// The keys of an object of a server, and whether a client without a certificate, or with a foreign one, may come in.
const ASKED_OF_CLIENTS: [(&[&str], bool, bool); 3] = [
    (&["cert", "key"], true, true),
    (&["ca", "cert", "key", "skip-ca"], true, false),
    (&["ca", "cert", "key"], false, false),
];

pub(crate) async fn tls_is_offered_to_clients_and_not_demanded(line: Line) {
    let directory = Directory::new();
    let mount = mounted(&directory, &Authority::new("ca"));
    let config = mount.object("server-tls", &["cert", "key"]);
    let proxy = Start::config(&config).run(line).await.with_tidb().await;
    let mut secured = Client::login(proxy.sql, Some(&client(None))).await.unwrap();
    assert!(secured.certificate.is_some());
    assert_eq!(secured.query("SELECT 1").await.unwrap(), "1");
    let mut plain = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(plain.query("SELECT 1").await.unwrap(), "1");

    let proxy = Start::default().run(line).await.with_tidb().await;
    let refused = Client::login(proxy.sql, Some(&client(None))).await.err();
    assert!(matches!(refused, Some(Refused::NoTls)), "{refused:?}");
}

pub(crate) async fn a_certificate_of_a_client_is_judged(line: Line) {
    let directory = Directory::new();
    let authority = Authority::new("ca");
    let mount = mounted(&directory, &authority);
    let ours = authority.pair("client");
    let foreign = Authority::new("foreign").pair("client");
    for (keys, without, with_foreign) in ASKED_OF_CLIENTS {
        let config = mount.object("server-tls", keys);
        let proxy = Start::config(&config).run(line).await.with_tidb().await;
        for (pair, allowed) in [
            (None, without),
            (Some(&foreign), with_foreign),
            (Some(&ours), true),
        ] {
            let login = Client::login(proxy.sql, Some(&client(pair))).await;
            assert_eq!(login.is_ok(), allowed, "{keys:?}: {:?}", login.err());
        }
        // Also without TLS, whatever is asked of those with TLS.
        assert!(Client::login(proxy.sql, None).await.is_ok(), "{keys:?}");
    }
    if line == Line::V26 {
        // It does not start with a CA file without a certificate in it.
        return;
    }
    // Such a file lets no certificate pass, but clients without one.
    let empty = authority.mount(&directory.0.join("empty"), &authority.pair("tiproxy"));
    std::fs::write(empty.path("ca.crt"), "no certificate").unwrap();
    let config = empty.object("server-tls", &["ca", "cert", "key", "skip-ca"]);
    let proxy = Start::config(&config).run(line).await.with_tidb().await;
    assert!(Client::login(proxy.sql, Some(&client(None))).await.is_ok());
    assert!(
        Client::login(proxy.sql, Some(&client(Some(&ours))))
            .await
            .is_err()
    );
}

pub(crate) async fn without_tls_to_tidb_a_client_is_refused_where_it_is_required(line: Line) {
    let proxy = Start::config("security.require-backend-tls = true\n")
        .run(line)
        .await
        .with_tidb()
        .await;
    // A real TiDB without TLS is noticed first; the stand-in has none to ask.
    let refused = Client::login(proxy.sql, None).await.err();
    assert!(matches!(refused, Some(Refused::Error(1105, _))), "{refused:?}");
}

pub(crate) async fn new_certificates_are_used(line: Line) {
    let directory = Directory::new();
    let authority = Authority::new("ca");
    let first = authority.pair("first");
    let mount = authority.mount(&directory.0.join("tls"), &first);
    let config = mount.object("server-tls", &["cert", "key"]);
    let proxy = Start::config(&config).run(line).await.with_tidb().await;
    let shown = async || {
        Client::login(proxy.sql, Some(&client(None)))
            .await
            .unwrap()
            .certificate
            .unwrap()
    };
    let before = shown().await;
    let second = authority.pair("second");
    mount.replace(&second);
    let nudge = async |text: &str| {
        let answer = proxy
            .api
            .put("/api/admin/config/", &format!("labels.tls = {text:?}"))
            .await;
        assert_eq!(answer.status, 200);
    };
    if line == Line::V1_3 {
        // It looks every hour, or when the configuration changes.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(shown().await, before);
        nudge("second").await;
    }
    let after = eventually("the new certificate is shown", async || {
        let now = shown().await;
        expect(now != before, now)
    })
    .await;
    // A pair that does not fit together is counted, and the old one stays.
    let mut mixed = authority.pair("third");
    mixed.key.clone_from(&second.key);
    mount.replace(&mixed);
    nudge("third").await;
    eventually("the error is counted", async || {
        let count = proxy.metric("tiproxy_server_err{type=\"load_cert\"}").await;
        expect(count >= 1.0, count)
    })
    .await;
    assert_eq!(shown().await, after);
}

pub(crate) async fn the_api_port_with_tls(line: Line) {
    let directory = Directory::new();
    let authority = Authority::new("ca");
    let mount = mounted(&directory, &authority);
    let ours = authority.pair("client");
    let foreign = Authority::new("foreign").pair("client");
    for (keys, without, with_foreign) in ASKED_OF_CLIENTS {
        let mut start = Start::config(&mount.object("server-http-tls", keys));
        start.api_tls = Some(client(Some(&ours)));
        let proxy = start.run(line).await.with_tidb().await;
        for (pair, allowed) in [(None, without), (Some(&foreign), with_foreign)] {
            let endpoint = Endpoint::tls(proxy.api.port, client(pair));
            let answer = endpoint.request("GET", "/api/debug/health", "").await;
            assert_eq!(answer.is_ok(), allowed, "{keys:?}: {answer:?}");
        }
        let plain = Endpoint::plain(proxy.api.port);
        for (method, path, status) in [
            ("GET", "/api/debug/health", 200),
            ("GET", "/debug/health", 200),
            ("DELETE", "/api/debug/health", 404),
            ("GET", "/api/admin/config/", 404),
            ("GET", "/metrics/", 404),
        ] {
            let answer = plain.request(method, path, "").await;
            let found = answer.map(|answer| answer.status).ok();
            if line == Line::V26 {
                assert_eq!(found, Some(status), "{method} {path}");
            } else {
                // Go says by plain HTTP that it wants TLS.
                assert!(matches!(found, None | Some(400)), "{method} {path}: {found:?}");
            }
        }
    }
}
