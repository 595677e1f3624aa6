//! The service manager's watchdog: sd_watchdog_enabled(3).

use std::time::Duration;

/// How often to say that we are well, when the environment asks for it: twice as often as it demands.
pub fn interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.trim() == own_pid.to_string());
    let usec: u64 = usec.filter(|_| is_ours)?.trim().parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_demanded() {
        assert_eq!(interval(Some("3000000"), Some("7"), 7), Some(Duration::from_millis(1500)));
        assert_eq!(interval(Some("3000000"), None, 7), Some(Duration::from_millis(1500)));
        assert_eq!(interval(Some("3000000"), Some("8"), 7), None);
        assert_eq!(interval(Some("0"), None, 7), None);
        assert_eq!(interval(None, None, 7), None);
    }
}
