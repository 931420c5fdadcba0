//! Packets and their parts.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection, with TLS or without.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The part of a packet that is not split.
const LARGEST: usize = 0xff_ffff;

/// A connection as packets with sequence numbers.
pub struct Packets {
    io: Box<dyn Io>,
    sequence: u8,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Packets")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Packets {
    /// A connection that goes on with this sequence number.
    #[must_use]
    pub fn new(io: Box<dyn Io>, sequence: u8) -> Self {
        Self { io, sequence }
    }

    /// The connection itself, and the next sequence number.
    #[must_use]
    pub fn into_parts(self) -> (Box<dyn Io>, u8) {
        (self.io, self.sequence)
    }

    /// A new command begins.
    pub fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The next packet, whole.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = Vec::new();
        loop {
            let mut header = [0; 4];
            self.io.read_exact(&mut header).await?;
            let [low, middle, high, sequence] = header;
            let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            if sequence != self.sequence {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("packet {sequence} where {} should have come next", self.sequence),
                ));
            }
            self.sequence = sequence.wrapping_add(1);
            let start = packet.len();
            packet.resize(start + length, 0);
            if let Some(rest) = packet.get_mut(start..) {
                self.io.read_exact(rest).await?;
            }
            if length < LARGEST {
                return Ok(packet);
            }
        }
    }

    /// Writes packets in one go.
    pub async fn write(&mut self, packets: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for packet in packets {
            let length = u32::try_from(packet.len())
                .ok()
                .filter(|_| packet.len() < LARGEST)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an answer of 16 MiB"))?;
            bytes.extend_from_slice(length.to_le_bytes().get(..3).unwrap_or_default());
            bytes.push(self.sequence);
            bytes.extend_from_slice(packet);
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.io.write_all(&bytes).await?;
        self.io.flush().await
    }

    /// Says goodbye to the other side.
    pub async fn close(&mut self) {
        // It may be gone already.
        let _ = self.io.shutdown().await;
    }
}

/// A string with its length before it.
pub fn put_text(packet: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ 0..=250 => packet.push(u8::try_from(length).unwrap_or_default()),
        length => {
            packet.push(0xfc);
            packet.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        }
    }
    packet.extend_from_slice(text);
}

/// Takes bytes from a packet, from front to back.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Four bytes.
    pub fn long(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Text up to a zero.
    pub fn terminated(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// Text with its length before it.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xfc => usize::from(u16::from_le_bytes(self.take(2)?.try_into().ok()?)),
            length @ 0..=250 => usize::from(length),
            _ => return None,
        };
        self.take(length)
    }
}
