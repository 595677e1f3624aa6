//! Who a client's certificate says it is: the common name of its subject (RFC 5280, section 4.1), read from DER.

/// The tag of a SEQUENCE, of a SET, and of the version, which may be left out.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
/// The object identifier 2.5.4.3, with its tag and length.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];

/// The common name; empty when there is none. The certificate has been verified by whoever asks.
pub fn common_name(der: &[u8]) -> String {
    find(der).unwrap_or_default()
}

fn find(der: &[u8]) -> Option<String> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = any(rest)?.2;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        rest = any(rest)?.2;
    }
    let (mut subject, _) = element(rest, SEQUENCE)?;
    while !subject.is_empty() {
        let (set, after) = element(subject, SET)?;
        let (pair, _) = element(set, SEQUENCE)?;
        if let Some(value) = pair.strip_prefix(COMMON_NAME) {
            return String::from_utf8(any(value)?.1.to_vec()).ok();
        }
        subject = after;
    }
    None
}

/// The content of an element of a kind, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Up to four bytes of length; the indefinite form is not DER.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_name_is_the_subjects_not_the_issuers() {
        let pem = include_bytes!("../../tests/certificates/client.pem");
        let der = CertificateDer::from_pem_slice(pem).expect("a certificate");
        assert_eq!(common_name(&der), "client");
        for length in 0..der.len() {
            assert_eq!(common_name(&der[..length]), "", "cut at {length}");
        }
    }
}
