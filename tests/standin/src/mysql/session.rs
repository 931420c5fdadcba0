//! A client that is logged in.

use std::io;

use super::packet::{Packets, put_text};
use super::statement::{Answer, answer};

/// Status flags of an answer.
pub const AUTOCOMMIT: u16 = 2;
const IN_TRANSACTION: u16 = 1;

/// What is known about a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who logged in.
    pub user: String,
    /// The cipher of a TLS connection.
    pub cipher: Option<String>,
    /// Whether the session can be handed over to another TiDB.
    pub signed: bool,
}

/// A client that is logged in.
#[derive(Debug)]
pub struct Session {
    packets: Packets,
    deprecate_eof: bool,
    in_transaction: bool,
    facts: Facts,
}

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another command.
    Command,
    /// The client has said goodbye.
    End,
}

const QUIT: u8 = 1;
const USE: u8 = 2;
const QUERY: u8 = 3;
const STATISTICS: u8 = 9;
const PING: u8 = 14;
const RESET: u8 = 31;

impl Session {
    pub(super) fn new(packets: Packets, deprecate_eof: bool, facts: Facts) -> Self {
        Self {
            packets,
            deprecate_eof,
            in_transaction: false,
            facts,
        }
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// The next command of the client.
    pub async fn command(&mut self) -> io::Result<Vec<u8>> {
        self.packets.restart();
        self.packets.read().await
    }

    /// Answers a command.
    pub async fn answer(&mut self, command: &[u8]) -> io::Result<Next> {
        let (kind, text) = command.split_first().unwrap_or((&QUIT, &[]));
        match *kind {
            QUIT => return Ok(Next::End),
            USE | PING | RESET => self.packets.write(&[ok(self.status())]).await?,
            STATISTICS => self.packets.write(&[b"Uptime: 1".to_vec()]).await?,
            QUERY => {
                let text = String::from_utf8_lossy(text);
                let answer = answer(&text, &self.facts, &mut self.in_transaction).await;
                self.send(answer).await?;
            }
            other => {
                let message = format!("Unknown command {other}");
                self.packets.write(&[error(1047, &message)]).await?;
            }
        }
        Ok(Next::Command)
    }

    /// Closes the connection, without a word to the client as TiProxy does.
    pub async fn close(&mut self) {
        self.packets.close().await;
    }

    fn status(&self) -> u16 {
        if self.in_transaction {
            AUTOCOMMIT | IN_TRANSACTION
        } else {
            AUTOCOMMIT
        }
    }

    async fn send(&mut self, answer: Answer) -> io::Result<()> {
        let packets = match answer {
            Answer::Ok => vec![ok(self.status())],
            Answer::Error(code, message) => vec![error(code, &message)],
            Answer::Rows { columns, rows } => {
                let mut packets = vec![vec![u8::try_from(columns.len()).unwrap_or(u8::MAX)]];
                packets.extend(columns.iter().map(|name| column(name)));
                if !self.deprecate_eof {
                    packets.push(eof(self.status()));
                }
                packets.extend(rows.iter().map(|row| values(row)));
                packets.push(if self.deprecate_eof {
                    // An OK that begins like an EOF.
                    let mut packet = ok(self.status());
                    if let Some(first) = packet.first_mut() {
                        *first = 0xfe;
                    }
                    packet
                } else {
                    eof(self.status())
                });
                packets
            }
        };
        self.packets.write(&packets).await
    }
}

pub(super) fn ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, 0, 0, low, high, 0, 0]
}

pub(super) fn error(code: u16, message: &str) -> Vec<u8> {
    let mut packet = vec![0xff];
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(b"#HY000");
    packet.extend_from_slice(message.as_bytes());
    packet
}

fn eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

fn column(name: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    put_text(&mut packet, b"def");
    for _ in 0..3 {
        put_text(&mut packet, b"");
    }
    put_text(&mut packet, name.as_bytes());
    put_text(&mut packet, name.as_bytes());
    // Character set utf8mb4, up to 1 KiB of a string.
    packet.extend_from_slice(&[0x0c, 46, 0, 0, 4, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
    packet
}

fn values(row: &[Option<String>]) -> Vec<u8> {
    let mut packet = Vec::new();
    for value in row {
        match value {
            Some(text) => put_text(&mut packet, text.as_bytes()),
            None => packet.push(0xfb),
        }
    }
    packet
}
