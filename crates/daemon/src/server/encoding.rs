//! Compressing an answer for a client that asks for it (`Accept-Encoding`, RFC 9110 §12.5.3).

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// DEFLATE without a head, as Docker sends it.
    Deflate,
}

impl Encoding {
    /// The best of what a client takes. Whoever says nothing gets the bytes as they are.
    pub fn choose(accepted: &str) -> Encoding {
        let mut best = (0.0, Encoding::Identity);
        for offered in [Encoding::Gzip, Encoding::Deflate] {
            for word in accepted.split(',') {
                let mut parts = word.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default();
                let quality = parts
                    .find_map(|part| part.strip_prefix("q="))
                    .map_or(Some(1.0), |text| text.parse().ok());
                let takes = name == "*" || name.eq_ignore_ascii_case(offered.word());
                if takes && quality.is_some_and(|quality: f32| quality > best.0) {
                    best = (quality.unwrap_or_default(), offered);
                }
            }
        }
        best.1
    }

    /// What `Content-Encoding` says.
    pub fn word(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }
}

/// Writes through an encoding; what is left is written when it is dropped.
pub enum Encoder<W: Write> {
    /// As it is.
    Identity(W),
    /// gzip.
    Gzip(GzEncoder<W>),
    /// DEFLATE.
    Deflate(DeflateEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Begins.
    pub fn new(encoding: Encoding, sink: W) -> Encoder<W> {
        match encoding {
            Encoding::Identity => Encoder::Identity(sink),
            Encoding::Gzip => Encoder::Gzip(GzEncoder::new(sink, Compression::fast())),
            Encoding::Deflate => Encoder::Deflate(DeflateEncoder::new(sink, Compression::fast())),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Encoder::Identity(sink) => sink.flush(),
            Encoder::Gzip(encoder) => encoder.try_finish().and_then(|()| encoder.get_mut().flush()),
            Encoder::Deflate(encoder) => encoder.try_finish().and_then(|()| encoder.get_mut().flush()),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::Identity(sink) => sink.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Deflate(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Identity(sink) => sink.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Deflate(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> Drop for Encoder<W> {
    fn drop(&mut self) {
        // A client that has left needs no end; one that stays sees that the answer is cut.
        if let Err(error) = self.finish() {
            tracing::debug!(%error, "the end of an answer was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_client_chooses() {
        for (accepted, expected) in [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, deflate", Encoding::Gzip),
            ("gzip;q=0.5, deflate", Encoding::Deflate),
            ("gzip;q=0", Encoding::Identity),
            ("*", Encoding::Gzip),
            ("br", Encoding::Identity),
        ] {
            assert_eq!(Encoding::choose(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn what_is_written_is_whole_when_the_encoder_is_gone() {
        let mut sink = Vec::new();
        Encoder::new(Encoding::Gzip, &mut sink).write_all(b"an archive").expect("written");
        let mut text = String::new();
        flate2::read::GzDecoder::new(sink.as_slice()).read_to_string(&mut text).expect("whole");
        assert_eq!(text, "an archive");
    }
}
