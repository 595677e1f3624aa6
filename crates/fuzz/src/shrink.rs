//! A failing input made smaller, as long as it still fails.

/// How many inputs are tried.
const TRIES: usize = 2000;

/// Takes pieces away, the large ones first.
pub(crate) fn shrink(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut small = input.to_vec();
    let mut tries = 0;
    let mut step = small.len().div_ceil(2);
    while step > 0 {
        let mut at = 0;
        while at < small.len() && tries < TRIES {
            tries += 1;
            let mut shorter = small.clone();
            shorter.drain(at..(at + step).min(small.len()));
            if fails(&shorter) {
                small = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_stays() {
        let fails = |input: &[u8]| input.contains(&b'x') && input.contains(&b'y');
        assert_eq!(shrink(b"aaaaaxaaaaaaaaaaaaayaa", fails), b"xy");
        assert_eq!(shrink(b"", |_| true), b"");
    }
}
