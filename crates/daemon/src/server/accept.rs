//! `Accept`: which of the media types on offer a client asks for by name. Wildcards do not count.

/// The offer with the highest weight that the header names; the earlier one of equals.
pub fn choose<'a>(header: &str, offers: &[&'a str]) -> Option<&'a str> {
    let mut best: Option<(&str, f32)> = None;
    for offer in offers {
        let weight = header.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(offer) {
                return None;
            }
            let weight = parts.find_map(|parameter| parameter.strip_prefix("q="));
            weight.map_or(Some(1.0), |weight| weight.parse().ok())
        });
        let weight = weight.fold(0.0, f32::max);
        if weight > best.map_or(0.0, |(_, weight)| weight) {
            best = Some((offer, weight));
        }
    }
    best.map(|(offer, _)| offer)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_heaviest_offer_wins() {
        let offers = ["a/b", "a/c"];
        assert_eq!(choose("", &offers), None);
        assert_eq!(choose("*/*, a/*", &offers), None);
        assert_eq!(choose("a/c", &offers), Some("a/c"));
        assert_eq!(choose("a/c;q=0.5, A/B;q=0.9", &offers), Some("a/b"));
        assert_eq!(choose("a/b;q=0", &offers), None);
        assert_eq!(choose("a/c, a/b", &offers), Some("a/b"));
    }
}
