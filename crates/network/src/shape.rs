//! How fast, how late and how reliably an endpoint sends and gets packets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What becomes of packets of one direction. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Shape {
    /// Bits per second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// How much later they come.
    pub delay_microseconds: u32,
    /// How many of a million are lost.
    pub loss_millionths: u32,
}

/// Both directions of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Shaping {
    /// What the container sends.
    pub egress: Shape,
    /// What it gets.
    pub ingress: Shape,
}

/// An option that says no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} for option {key}: it must be {expected}")]
pub struct InvalidShape {
    key: String,
    value: String,
    expected: &'static str,
}

impl Shaping {
    /// Reads the options `berth.endpoint.egress_rate`, `…_delay`, `…_loss` and the same of `ingress`. An empty value is as
    /// none. Other options are others'.
    ///
    /// # Errors
    /// A value that says nothing, or an option of ours that there is not.
    pub fn parse<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, InvalidShape> {
        let mut shaping = Self::default();
        for (key, value) in options {
            let Some(name) = key.strip_prefix("berth.endpoint.") else { continue };
            let bad = |expected| InvalidShape { key: key.to_owned(), value: value.to_owned(), expected };
            let (shape, what) = match name.split_once('_') {
                Some(("egress", what)) => (&mut shaping.egress, what),
                Some(("ingress", what)) => (&mut shaping.ingress, what),
                _ => return Err(bad("of egress_ or ingress_ rate, delay or loss")),
            };
            if value.is_empty() {
                continue;
            }
            match what {
                "rate" => shape.rate = Some(rate(value).ok_or_else(|| bad("a rate such as 10mbit"))?),
                "delay" => {
                    shape.delay_microseconds = delay(value).ok_or_else(|| bad("a time such as 50ms"))?;
                }
                "loss" => {
                    shape.loss_millionths =
                        loss(value).ok_or_else(|| bad("a share such as 1.5%, up to 100%"))?;
                }
                _ => return Err(bad("of egress_ or ingress_ rate, delay or loss")),
            }
        }
        Ok(shaping)
    }
}

impl Shape {
    /// Whether packets are left as they are.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A number and what it counts.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    Some((number, unit))
}

/// Bits per second, at least one byte.
fn rate(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return None,
    };
    let bits = (number * factor).round();
    (8.0..=1e12).contains(&bits).then_some(bits as u64)
}

/// Microseconds, up to a minute.
fn delay(text: &str) -> Option<u32> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    let microseconds = (number * factor).round();
    (0.0..=60e6).contains(&microseconds).then_some(microseconds as u32)
}

fn loss(text: &str) -> Option<u32> {
    let (number, unit) = split(text)?;
    (unit == "%" && (0.0..=100.0).contains(&number)).then_some((number * 1e4).round() as u32)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.rate.map(|rate| format!("rate {rate}bit")));
        if self.delay_microseconds > 0 {
            words.push(format!("delay {}us", self.delay_microseconds));
        }
        if self.loss_millionths > 0 {
            words.push(format!("loss {}%", f64::from(self.loss_millionths) / 1e4));
        }
        f.write_str(&if words.is_empty() { "no shape".to_owned() } else { words.join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_a_shape_or_why_not() {
        let check = |key: &str, value: &str, expected: &str| {
            let key = format!("berth.endpoint.{key}");
            let found = match Shaping::parse([(key.as_str(), value), ("other", "x")].into_iter()) {
                Ok(shaping) => format!("egress {}, ingress {}", shaping.egress, shaping.ingress),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        };
        check("egress_rate", "10mbit", "egress rate 10000000bit, ingress no shape");
        check("ingress_rate", "1.5Gbit", "egress no shape, ingress rate 1500000000bit");
        check("egress_delay", "50ms", "egress delay 50000us, ingress no shape");
        check("ingress_loss", "0.5%", "egress no shape, ingress loss 0.5%");
        check("ingress_loss", "", "egress no shape, ingress no shape");
        let refused = |key: &str, value: &str, expected: &str| {
            let words =
                format!("invalid value {value:?} for option berth.endpoint.{key}: it must be {expected}");
            check(key, value, &words);
        };
        for value in ["fast", "0", "-1mbit", "10mb", "99999gbit", "1e9", "mbit"] {
            refused("egress_rate", value, "a rate such as 10mbit");
        }
        refused("egress_delay", "50", "a time such as 50ms");
        refused("egress_loss", "101%", "a share such as 1.5%, up to 100%");
        refused("egress_colour", "red", "of egress_ or ingress_ rate, delay or loss");
        refused("color", "red", "of egress_ or ingress_ rate, delay or loss");
    }
}
