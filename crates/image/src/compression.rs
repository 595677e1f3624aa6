//! Compression of layers: told by the first bytes, inflated in process, with a limit on how much comes out.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::limits::Limits;
use crate::{Error, Result};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// How many bytes tell the compression.
pub(crate) const MAGIC: usize = 6;

impl Compression {
    /// The compression of a stream that starts with `head`.
    pub(crate) fn detect(head: &[u8]) -> Result<Self> {
        let refuse = |name: &str| {
            let text = format!("{name} compression is not supported: use gzip, zstd or no compression");
            Err(Error::Unsupported(text))
        };
        match head {
            [0x1f, 0x8b, 8, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refuse("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => refuse("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => refuse("lz4"),
            _ => Ok(Self::None),
        }
    }

    /// What `source` contains once inflated.
    pub(crate) fn reader<'a>(
        self,
        source: impl BufRead + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::None => Ok(Box::new(source)),
            Self::Gzip => Ok(Box::new(MultiGzDecoder::new(source))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                // 128 MiB, what `zstd --ultra` may ask for and what other engines accept.
                decoder.window_log_max(27)?;
                Ok(Box::new(decoder))
            }
        }
    }
}

/// Refuses what inflates to more than the limits allow.
pub(crate) fn check_growth(limits: &Limits, read: u64, inflated: u64) -> Result<()> {
    if inflated > limits.max_layer_size {
        let limit = limits.max_layer_size;
        return Err(Error::Invalid(format!("the layer is larger than the limit of {limit} bytes")));
    }
    if inflated > limits.ratio_from && inflated / limits.max_ratio > read {
        let ratio = limits.max_ratio;
        return Err(Error::Invalid(format!(
            "the layer inflates to more than {ratio} times its size: a decompression bomb"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_compression() {
        assert_eq!(Compression::detect(&[0x1f, 0x8b, 8, 0, 0, 0]).unwrap(), Compression::Gzip);
        assert_eq!(Compression::detect(&[0x28, 0xb5, 0x2f, 0xfd, 4, 0]).unwrap(), Compression::Zstd);
        assert_eq!(Compression::detect(b"etc/pa").unwrap(), Compression::None);
        assert_eq!(Compression::detect(b"").unwrap(), Compression::None);
        let words = Compression::detect(b"\xfd7zXZ\0").unwrap_err().to_string();
        assert_eq!(words, "xz compression is not supported: use gzip, zstd or no compression");
        assert!(Compression::detect(b"BZh91AY").is_err());
    }

    #[test]
    fn growth_is_limited_by_size_and_by_ratio() {
        let limits = Limits { max_layer_size: 1000, max_ratio: 10, ratio_from: 100, ..Limits::default() };
        assert!(check_growth(&limits, 1, 100).is_ok());
        assert!(check_growth(&limits, 1, 200).is_err());
        assert!(check_growth(&limits, 100, 1000).is_ok());
        assert!(check_growth(&limits, 1000, 1001).is_err());
    }
}
