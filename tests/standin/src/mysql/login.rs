//! From the greeting to the decision whether a client may come in.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::packet::{Packets, Reader};
use super::session::{self, Session};

/// What a server can do, and a client asks for.
pub mod capability {
    /// The client names its database.
    pub const CONNECT_WITH_DB: u32 = 0x8;
    /// The protocol of this century.
    pub const PROTOCOL_41: u32 = 0x200;
    /// TLS.
    pub const SSL: u32 = 0x800;
    /// The password's answer has its length before it, in one byte.
    pub const SECURE_CONNECTION: u32 = 0x8000;
    /// Authentication by plugins.
    pub const PLUGIN_AUTH: u32 = 0x8_0000;
    /// The password's answer has its length before it, of any size.
    pub const PLUGIN_AUTH_LENENC: u32 = 0x20_0000;
    /// A result ends with OK instead of EOF.
    pub const DEPRECATE_EOF: u32 = 0x100_0000;
    /// Long passwords, found rows, long flags, transactions, several statements and results, attributes.
    pub const OTHERS: u32 = 0x1 | 0x2 | 0x4 | 0x400 | 0x2000 | 0x1_0000 | 0x2_0000 | 0x10_0000;
}

/// The plugin that a client is asked to use.
const PLUGIN: &str = "mysql_native_password";
/// The plugin by which TiProxy hands a session over to another TiDB.
const SESSION_TOKEN: &[u8] = b"tidb_session_token";
/// Any password will do, so nothing depends on it.
const SALT: &[u8; 20] = b"a-salt-without-value";

/// What a client is told at first.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The server's version.
    pub version: String,
    /// The connection's number.
    pub connection: u32,
    /// TLS, if it is offered.
    pub tls: Option<Arc<ServerConfig>>,
}

/// A client that waits for an answer to its login.
#[derive(Debug)]
pub struct Login {
    packets: Packets,
    /// Who logs in.
    pub user: String,
    /// The cipher of a TLS connection.
    pub cipher: Option<String>,
    capabilities: u32,
    token: bool,
}

/// Why a client did not come that far.
#[derive(Debug)]
pub enum LoginError {
    /// The connection broke.
    Network(io::Error),
    /// TLS or protocol.
    Handshake(String),
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            Self::Handshake(error.to_string())
        } else {
            Self::Network(error)
        }
    }
}

/// Greets a client and hears what it wants.
pub async fn greet(stream: TcpStream, greeting: &Greeting) -> Result<Login, LoginError> {
    let mut packets = Packets::new(Box::new(stream), 0);
    packets.write(&[hello(greeting)]).await?;
    let mut packet = packets.read().await?;
    let mut cipher = None;
    let asked = Reader(&packet).long().unwrap_or_default();
    if let Some(tls) = greeting
        .tls
        .as_ref()
        .filter(|_| asked & capability::SSL != 0 && packet.len() == 32)
    {
        let (io, sequence) = packets.into_parts();
        let stream = TlsAcceptor::from(Arc::clone(tls))
            .accept(io)
            .await
            .map_err(|error| LoginError::Handshake(error.to_string()))?;
        let suite = stream.get_ref().1.negotiated_cipher_suite();
        cipher = suite.and_then(|suite| suite.suite().as_str()).map(openssl_name);
        packets = Packets::new(Box::new(stream), sequence);
        packet = packets.read().await?;
    }
    let (user, token) = response(&packet)
        .ok_or_else(|| LoginError::Handshake("the handshake response cannot be read".to_owned()))?;
    if asked & capability::PROTOCOL_41 == 0 {
        return Err(LoginError::Handshake(
            "the client does not speak protocol 4.1".to_owned(),
        ));
    }
    Ok(Login {
        packets,
        user,
        cipher,
        capabilities: asked,
        token,
    })
}

/// MySQL servers show the names of OpenSSL, which has no `TLS13_` in those of TLS 1.3.
fn openssl_name(suite: &str) -> String {
    suite.replace("TLS13_", "TLS_")
}

fn hello(greeting: &Greeting) -> Vec<u8> {
    let mut capabilities = capability::CONNECT_WITH_DB
        | capability::PROTOCOL_41
        | capability::SECURE_CONNECTION
        | capability::PLUGIN_AUTH
        | capability::PLUGIN_AUTH_LENENC
        | capability::DEPRECATE_EOF
        | capability::OTHERS;
    if greeting.tls.is_some() {
        capabilities |= capability::SSL;
    }
    let [c0, c1, c2, c3] = capabilities.to_le_bytes();
    let (salt, more_salt) = SALT.split_at(8);
    let mut packet = vec![10];
    packet.extend_from_slice(greeting.version.as_bytes());
    packet.push(0);
    packet.extend_from_slice(&greeting.connection.to_le_bytes());
    packet.extend_from_slice(salt);
    packet.extend_from_slice(&[0, c0, c1, 46]);
    packet.extend_from_slice(&session::AUTOCOMMIT.to_le_bytes());
    packet.extend_from_slice(&[c2, c3, 21]);
    packet.extend_from_slice(&[0; 10]);
    packet.extend_from_slice(more_salt);
    packet.push(0);
    packet.extend_from_slice(PLUGIN.as_bytes());
    packet.push(0);
    packet
}

/// The user, and whether a session token is shown instead of a password.
fn response(packet: &[u8]) -> Option<(String, bool)> {
    let mut reader = Reader(packet);
    let capabilities = reader.long()?;
    reader.take(4 + 1 + 23)?;
    let user = String::from_utf8_lossy(reader.terminated()?).into_owned();
    if capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
        reader.text()?;
    } else if capabilities & capability::SECURE_CONNECTION != 0 {
        let length = usize::from(reader.byte()?);
        reader.take(length)?;
    } else {
        reader.terminated()?;
    }
    if capabilities & capability::CONNECT_WITH_DB != 0 {
        // Some clients leave the zero out when the database is the last thing they say.
        let _ = reader.terminated();
    }
    let token = capabilities & capability::PLUGIN_AUTH != 0 && reader.0.starts_with(SESSION_TOKEN);
    Some((user, token))
}

impl Login {
    /// Lets the client in, whatever its password.
    pub async fn accept(mut self, signed: bool) -> Result<Session, LoginError> {
        if !self.token {
            let mut packet = vec![0xfe];
            packet.extend_from_slice(PLUGIN.as_bytes());
            packet.push(0);
            packet.extend_from_slice(SALT);
            packet.push(0);
            self.packets.write(&[packet]).await?;
            self.packets.read().await?;
        }
        self.packets.write(&[session::ok(session::AUTOCOMMIT)]).await?;
        Ok(Session::new(
            self.packets,
            self.capabilities & capability::DEPRECATE_EOF != 0,
            session::Facts {
                user: self.user,
                cipher: self.cipher,
                signed,
            },
        ))
    }

    /// Sends the client away with an error.
    pub async fn refuse(mut self, code: u16, message: &str) {
        // Whether it still hears that makes no difference.
        let _ = self.packets.write(&[session::error(code, message)]).await;
        self.packets.close().await;
    }
}
