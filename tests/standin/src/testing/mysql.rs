//! A MySQL client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::mysql::login::capability;
use crate::mysql::packet::{Packets, Reader};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;

use super::http::secured;

/// Longer than TiProxy looks for a TiDB.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that is logged in.
#[derive(Debug)]
pub struct Client {
    packets: Packets,
    /// The server's certificate, with TLS.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Why a login failed.
#[derive(Debug)]
pub enum Refused {
    /// The server said so.
    Error(u16, String),
    /// The server does not offer TLS.
    NoTls,
    /// The connection ended, or TLS failed.
    Broken(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Client {
    /// Logs in as `root` at a port of this machine, by TLS if given.
    pub async fn login(port: u16, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Refused> {
        Self::login_at((Ipv4Addr::LOCALHOST, port).into(), tls).await
    }

    /// As [`Client::login`], at any address.
    pub async fn login_at(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Refused> {
        tokio::time::timeout(PATIENCE, Self::log_in(address, tls))
            .await
            .map_err(io::Error::from)?
    }

    async fn log_in(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Refused> {
        let stream = TcpStream::connect(address).await?;
        let mut packets = Packets::new(Box::new(stream), 0);
        let offered = capabilities(&packets.read().await?)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let mut asked = capability::PROTOCOL_41
            | capability::SECURE_CONNECTION
            | capability::PLUGIN_AUTH
            | capability::DEPRECATE_EOF;
        let mut certificate = None;
        if let Some(tls) = tls {
            if offered & capability::SSL == 0 {
                return Err(Refused::NoTls);
            }
            asked |= capability::SSL;
            packets.write(&[head(asked)]).await?;
            let (io, sequence) = packets.into_parts();
            let stream = secured(io, tls).await?;
            certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first().cloned().map(CertificateDer::into_owned));
            packets = Packets::new(Box::new(stream), sequence);
        }
        let mut response = head(asked);
        response.extend_from_slice(b"root\0\0mysql_native_password\0");
        packets.write(&[response]).await?;
        loop {
            let packet = packets.read().await?;
            match packet.first() {
                Some(0) => return Ok(Self { packets, certificate }),
                // No password, whatever the plugin.
                Some(0xfe) => packets.write(&[Vec::new()]).await?,
                Some(0xff) => {
                    let (code, message) = error(&packet);
                    return Err(Refused::Error(code, message));
                }
                _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
            }
        }
    }

    /// Runs a statement; the first cell of a result, else an empty text.
    pub async fn query(&mut self, statement: &str) -> io::Result<String> {
        let row = tokio::time::timeout(PATIENCE, self.run(statement)).await??;
        Ok(row.into_iter().next().unwrap_or_default())
    }

    /// Runs a statement such as `SHOW STATUS`; the second cell of its result.
    pub async fn value(&mut self, statement: &str) -> io::Result<String> {
        let row = tokio::time::timeout(PATIENCE, self.run(statement)).await??;
        Ok(row.into_iter().nth(1).unwrap_or_default())
    }

    /// The last row of the result.
    async fn run(&mut self, statement: &str) -> io::Result<Vec<String>> {
        let mut command = vec![3];
        command.extend_from_slice(statement.as_bytes());
        self.packets.restart();
        self.packets.write(&[command]).await?;
        let packet = self.packets.read().await?;
        match packet.first() {
            Some(0) => return Ok(Vec::new()),
            Some(0xff) => return Err(io::Error::other(format!("{:?}", error(&packet)))),
            _ => {}
        }
        for _ in 0..packet[0] {
            self.packets.read().await?;
        }
        let mut cells = Vec::new();
        loop {
            let row = self.packets.read().await?;
            if row.first() == Some(&0xfe) {
                return Ok(cells);
            }
            cells.clear();
            let mut reader = Reader(&row);
            while let Some(text) = reader.text() {
                cells.push(String::from_utf8_lossy(text).into_owned());
            }
        }
    }

    /// Whether the server has closed the connection.
    pub async fn is_closed(&mut self, within: Duration) -> bool {
        self.packets.restart();
        matches!(
            tokio::time::timeout(within, self.packets.read()).await,
            Ok(Err(_))
        )
    }

    /// Says goodbye to a server that listens.
    pub async fn quit(self) {
        self.try_quit().await.unwrap();
    }

    /// Says goodbye; the error is that nobody is there any more.
    pub async fn try_quit(mut self) -> io::Result<()> {
        self.packets.restart();
        self.packets.write(&[vec![1]]).await?;
        self.packets.close().await;
        Ok(())
    }
}

/// What a server's greeting offers.
fn capabilities(greeting: &[u8]) -> Option<u32> {
    let mut reader = Reader(greeting);
    reader.byte()?;
    reader.terminated()?;
    reader.take(4 + 8 + 1)?;
    let low = reader.take(2)?;
    reader.take(3)?;
    let high = reader.take(2)?;
    Some(u32::from_le_bytes([low[0], low[1], high[0], high[1]]))
}

fn head(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&[0, 0, 0, 1, 46]);
    packet.extend_from_slice(&[0; 23]);
    packet
}

fn error(packet: &[u8]) -> (u16, String) {
    let code = u16::from_le_bytes([packet[1], packet[2]]);
    let message = String::from_utf8_lossy(packet.get(9..).unwrap_or_default()).into_owned();
    (code, message)
}
