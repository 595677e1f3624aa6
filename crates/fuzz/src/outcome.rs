//! What a target returns, reduced to what tells one path through a parser from another.

use std::fmt::Display;

/// Something whose shape says which way a parser went.
pub trait Outcome {
    /// Equal for inputs that were treated alike.
    fn shape(&self) -> String;
}

impl Outcome for () {
    fn shape(&self) -> String {
        String::new()
    }
}

impl Outcome for bool {
    fn shape(&self) -> String {
        self.to_string()
    }
}

impl Outcome for usize {
    /// Its magnitude: every length is not another path.
    fn shape(&self) -> String {
        self.checked_ilog2().map_or_else(|| "0".to_owned(), |magnitude| format!("2^{magnitude}"))
    }
}

impl<T> Outcome for Option<T> {
    fn shape(&self) -> String {
        self.is_some().to_string()
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    /// The words of the error without what they quote.
    fn shape(&self) -> String {
        self.as_ref().map_or_else(|error| words(&error.to_string()), |_| "ok".to_owned())
    }
}

/// Leaves out numbers and what stands in quotes.
fn words(message: &str) -> String {
    /// Where a message is told from another one at the latest.
    const MOST: usize = 120;
    let mut left_out = None;
    let mut kept = String::new();
    for letter in message.chars() {
        match left_out {
            Some(quote) if quote == letter => left_out = None,
            Some(_) => continue,
            None if matches!(letter, '"' | '`') => left_out = Some(letter),
            None if letter.is_ascii_digit() => continue,
            None => {}
        }
        kept.push(letter);
        if kept.len() >= MOST {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_differ_by_their_words() {
        let failed = |message: &str| Err::<(), _>(message.to_owned()).shape();
        assert_eq!(failed("line 7: \"a\" is none"), failed("line 12: \"b c\" is none"));
        assert_ne!(failed("line 7: no name"), failed("line 7: no value"));
        assert_ne!(failed("x"), Ok::<_, String>(()).shape());
    }

    #[test]
    fn a_number_counts_by_its_magnitude() {
        assert_eq!(0_usize.shape(), "0");
        assert_eq!(5_usize.shape(), 7_usize.shape());
        assert_ne!(5_usize.shape(), 9_usize.shape());
    }
}
