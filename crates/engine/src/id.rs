//! Identifiers: 32 random bytes as 64 hexadecimal digits, and the names people did not choose.

use crate::{Error, Result};

/// Adjectives of generated names.
const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "ample", "apt", "azure", "bold", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "careful", "cheerful", "clear", "clever", "coastal", "cosmic", "cozy", "crisp", "curious",
    "daring", "deft", "eager", "early", "earnest", "easy", "elated", "fair", "famous", "fearless", "fervent",
    "fleet", "fluent", "fond", "frank", "fresh", "friendly", "gallant", "gentle", "gifted", "glad", "golden",
    "graceful", "happy", "hardy", "hearty", "honest", "hopeful", "humble", "jolly", "jovial", "keen", "kind",
    "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mighty", "modest", "neat", "nimble", "noble",
    "patient", "peaceful", "playful", "polite", "proud", "quick", "quiet", "rapid", "ready", "serene",
    "sharp", "silent", "sincere", "smooth", "snug", "solid", "spry", "steady", "stoic", "sturdy", "sunny",
    "swift", "tender", "tidy", "tranquil", "trusting", "upbeat", "valiant", "vivid", "warm", "wise", "witty",
    "zealous", "zen",
];

/// People of science, engineering and the sea, by surname.
const SURNAMES: &[&str] = &[
    "abel",
    "agnesi",
    "allen",
    "amundsen",
    "archimedes",
    "babbage",
    "banach",
    "bardeen",
    "bartik",
    "beaufort",
    "bell",
    "bernoulli",
    "bohr",
    "boole",
    "borg",
    "bose",
    "boyle",
    "brahe",
    "brown",
    "bell_burnell",
    "cannon",
    "cantor",
    "carson",
    "cartwright",
    "cerf",
    "chandrasekhar",
    "church",
    "clarke",
    "colden",
    "cook",
    "cori",
    "cousteau",
    "cray",
    "curie",
    "dahl",
    "darwin",
    "davinci",
    "diffie",
    "dijkstra",
    "dirac",
    "drake",
    "earle",
    "einstein",
    "elion",
    "engelbart",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goodall",
    "gosling",
    "haibt",
    "hamilton",
    "harrison",
    "hawking",
    "heisenberg",
    "hellman",
    "hertz",
    "hilbert",
    "hodgkin",
    "hopper",
    "hubble",
    "hypatia",
    "jang",
    "jepsen",
    "johnson",
    "joule",
    "kepler",
    "khorana",
    "kilby",
    "knuth",
    "kolmogorov",
    "kovalevsky",
    "lamarr",
    "lamport",
    "leavitt",
    "leibniz",
    "lichterman",
    "liskov",
    "lovelace",
    "magellan",
    "maxwell",
    "mayer",
    "mccarthy",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "mercator",
    "mirzakhani",
    "morse",
    "nansen",
    "napier",
    "nash",
    "neumann",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "noyce",
    "panini",
    "pascal",
    "pasteur",
    "payne",
    "pike",
    "poincare",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "ritchie",
    "rosalind",
    "rubin",
    "sammet",
    "shannon",
    "shaw",
    "shirley",
    "shockley",
    "sinoussi",
    "slocum",
    "snyder",
    "spence",
    "stallman",
    "swartz",
    "tesla",
    "tharp",
    "thompson",
    "torvalds",
    "turing",
    "varahamihira",
    "vaughan",
    "volta",
    "wescoff",
    "wiles",
    "wilson",
    "wing",
    "wozniak",
    "wright",
    "wu",
    "yalow",
    "yonath",
    "zhukovsky",
];

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    linux::random_bytes(&mut bytes).map_err(|error| Error::system(error.to_string()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new identifier: 64 hexadecimal digits. The first twelve are never all decimal, so that a short id cannot be
/// mistaken for a number (a hostname of digits only confuses programs that expect an address).
pub(crate) fn new_id() -> Result<String> {
    loop {
        let id = hex(&random::<32>()?);
        if id[..12].bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// The first twelve digits, as people see them.
#[must_use]
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A random `adjective_surname`.
pub(crate) fn new_name() -> Result<String> {
    let [a, b, c, d] = random::<4>()?;
    let adjective = ADJECTIVES[usize::from(u16::from_le_bytes([a, b])) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(u16::from_le_bytes([c, d])) % SURNAMES.len()];
    Ok(format!("{adjective}_{surname}"))
}

/// Whether `name` may name a container or a volume: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[must_use]
pub(crate) fn is_valid_name(name: &str) -> bool {
    let name = name.as_bytes();
    name.len() >= 2
        && name[0].is_ascii_alphanumeric()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Whether a text is an identifier in full.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_hexadecimal_digits_and_not_a_number() {
        let id = new_id().expect("random");
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(short(&id).parse::<u64>().is_err());
    }

    #[test]
    fn generated_names_are_valid_names() {
        for adjective in ADJECTIVES {
            for surname in SURNAMES {
                assert!(is_valid_name(&format!("{adjective}_{surname}")));
            }
        }
    }

    #[test]
    fn names_that_docker_refuses_are_refused() {
        for name in ["", "a", "-a", ".a", "_a", "a b", "a/b", "ä1", "a\n"] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }
}
