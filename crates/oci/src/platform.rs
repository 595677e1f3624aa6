//! Platforms: `os[/architecture[/variant]]`, normalised and matched as containerd does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The platform that an image is for (image specification, `platform` of a descriptor).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture with Go's names, for example `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The operating system with Go's names, for example `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system; used by Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system that the image needs; used by Windows.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the processor, for example `v7` of `arm`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{specifier:?}: {reason}")]
pub struct PlatformError {
    specifier: String,
    reason: &'static str,
}

impl Platform {
    /// The platform this binary was compiled for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), ..Self::default() }.normalized()
    }

    /// The same platform with the names that images use: `x86_64` becomes `amd64`, `arm64/v8` becomes `arm64`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        Self { os, architecture, variant, ..self.clone() }
    }

    /// Whether `candidate` (what an image says) runs on `self` (what is wanted), and how well: 0 is exact, higher
    /// numbers are older compatible variants; `None` does not run.
    ///
    /// A 64-bit ARM machine takes 32-bit ARM images, and an ARM variant takes the older ones (containerd's order).
    #[must_use]
    pub fn rank(&self, candidate: &Platform) -> Option<u32> {
        let wanted = self.normalized();
        let candidate = candidate.normalized();
        if wanted.os != candidate.os {
            return None;
        }
        wanted
            .compatible()
            .iter()
            .position(|(architecture, variant)| {
                *architecture == candidate.architecture && *variant == candidate.variant
            })
            .and_then(|position| u32::try_from(position).ok())
    }

    /// Whether `candidate` is exactly this platform once both are normalised.
    #[must_use]
    pub fn same(&self, candidate: &Platform) -> bool {
        let (a, b) = (self.normalized(), candidate.normalized());
        a.os == b.os && a.architecture == b.architecture && a.variant == b.variant
    }

    /// The architectures and variants this platform runs, the best first.
    fn compatible(&self) -> Vec<(String, String)> {
        let pair = |architecture: &str, variant: &str| (architecture.to_owned(), variant.to_owned());
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("amd64", variant) => {
                let level =
                    variant.strip_prefix('v').and_then(|level| level.parse::<u32>().ok()).unwrap_or(1);
                let mut list: Vec<_> =
                    (2..=level.min(4)).rev().map(|level| pair("amd64", &format!("v{level}"))).collect();
                list.push(pair("amd64", ""));
                list
            }
            ("arm", variant) => arm_list(variant),
            ("arm64", variant) => {
                let mut list = vec![pair("arm64", variant)];
                if !variant.is_empty() {
                    list.push(pair("arm64", ""));
                }
                list.extend(arm_list("v8"));
                list
            }
            (architecture, variant) => vec![pair(architecture, variant)],
        }
    }
}

fn arm_list(variant: &str) -> Vec<(String, String)> {
    let level = variant.strip_prefix('v').and_then(|level| level.parse::<u32>().ok());
    match level {
        Some(level) if (5..=8).contains(&level) => {
            (5..=level).rev().map(|level| ("arm".to_owned(), format!("v{level}"))).collect()
        }
        _ => vec![("arm".to_owned(), variant.to_owned())],
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
        ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", other) => ("arm64", other),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

const KNOWN_ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm",
];

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os`, `architecture`, `os/architecture` or `os/architecture/variant`; what is missing is the host's.
    fn from_str(specifier: &str) -> Result<Self, PlatformError> {
        let fail = |reason| PlatformError { specifier: specifier.to_owned(), reason };
        if specifier.contains('*') {
            return Err(fail("wildcards not yet supported"));
        }
        let parts: Vec<&str> = specifier.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if !parts.iter().all(valid) {
            return Err(fail("is an invalid component of a platform: it must match ^[A-Za-z0-9_.-]+$"));
        }
        let host = Self::host();
        match parts.as_slice() {
            [one] => {
                let os = Self { os: (*one).to_owned(), ..Self::default() }.normalized().os;
                if KNOWN_OS.contains(&os.as_str()) {
                    return Ok(Self { os, ..host });
                }
                let (architecture, variant) = normalize_architecture(one, "");
                if KNOWN_ARCHITECTURES.contains(&architecture.as_str()) {
                    return Ok(Self { architecture, variant, ..host });
                }
                Err(fail("unknown operating system or architecture"))
            }
            [os, architecture] => {
                Ok(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), ..Self::default() }
                    .normalized())
            }
            [os, architecture, variant] => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: (*variant).to_owned(),
                ..Self::default()
            }
            .normalized()),
            _ => Err(fail("cannot parse platform specifier")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        match text.parse::<Platform>() {
            Ok(platform) => platform.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn specifiers_are_normalised() {
        let cases = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("", "error: \"\": is an invalid component of a platform: it must match ^[A-Za-z0-9_.-]+$"),
            ("linux/*", "error: \"linux/*\": wildcards not yet supported"),
            ("nonsense", "error: \"nonsense\": unknown operating system or architecture"),
            ("a/b/c/d", "error: \"a/b/c/d\": cannot parse platform specifier"),
            ("linux/../x", "linux/../x"),
            (
                "linux//x",
                "error: \"linux//x\": is an invalid component of a platform: it must match ^[A-Za-z0-9_.-]+$",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn one_word_is_an_operating_system_or_an_architecture() {
        let host = Platform::host();
        assert_eq!("linux".parse::<Platform>().unwrap(), host);
        assert_eq!("arm64".parse::<Platform>().unwrap().to_string(), "linux/arm64");
    }

    #[test]
    fn an_arm_machine_takes_older_variants_in_order() {
        let wanted: Platform = "linux/arm/v7".parse().unwrap();
        let rank = |text: &str| wanted.rank(&text.parse().unwrap());
        assert_eq!(rank("linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v5"), Some(2));
        assert_eq!(rank("linux/arm/v8"), None);
        assert_eq!(rank("linux/arm64"), None);
        assert_eq!(rank("windows/arm/v7"), None);
    }

    #[test]
    fn a_64_bit_arm_machine_takes_32_bit_images_last() {
        let wanted: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(wanted.rank(&"linux/arm64/v8".parse().unwrap()), Some(0));
        assert_eq!(wanted.rank(&"linux/arm/v7".parse().unwrap()), Some(2));
    }

    #[test]
    fn an_amd64_level_falls_back_to_the_base() {
        let wanted: Platform = "linux/amd64/v3".parse().unwrap();
        assert_eq!(wanted.rank(&"linux/amd64".parse().unwrap()), Some(2));
        assert_eq!(wanted.rank(&"linux/amd64/v2".parse().unwrap()), Some(1));
        assert_eq!(wanted.rank(&"linux/amd64/v4".parse().unwrap()), None);
        let base: Platform = "linux/amd64".parse().unwrap();
        assert_eq!(base.rank(&"linux/amd64/v2".parse().unwrap()), None);
    }
}
