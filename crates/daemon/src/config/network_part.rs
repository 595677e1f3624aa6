//! What the engine is told about networks: the default bridge, address pools, options of new networks.

use std::collections::BTreeMap;

use engine::AddressPool;
use serde_json::Value;

use super::ConfigError;
use super::settings::Settings;
use super::words::{number, refused};

pub(super) fn bridge(settings: &Settings, default: &engine::Bridge) -> Result<engine::Bridge, ConfigError> {
    let on = |name: &str| settings.last(name).is_none_or(|word| word == "true");
    Ok(engine::Bridge {
        name: match settings.last("bridge") {
            None | Some("") => default.name.clone(),
            Some("none") => None,
            Some(name) => Some(name.to_owned()),
        },
        address: settings.last("bip").map(str::to_owned),
        range: settings.last("fixed-cidr").map(str::to_owned),
        ipv6: settings.is_on("ipv6"),
        address_ipv6: settings.last("bip6").map(str::to_owned),
        subnet_ipv6: settings.last("fixed-cidr-v6").map(str::to_owned),
        default_gateway: settings.last("default-gateway").map(str::to_owned),
        default_gateway_ipv6: settings.last("default-gateway-v6").map(str::to_owned),
        mtu: number(settings, "mtu", 0)?,
        inter_container: on("icc"),
        masquerade: on("ip-masq"),
        publish_address: settings.last("ip").unwrap_or(&default.publish_address).to_owned(),
    })
}

/// What published ports have to obey.
pub(super) fn publish_policy(settings: &Settings) -> Result<engine::PublishPolicy, ConfigError> {
    let Some(word) = settings.last("publish-policy") else { return Ok(engine::PublishPolicy::default()) };
    word.parse().map_err(|_| refused("publish-policy", word, "it must be docker, respect-host or localhost"))
}

/// `1`, `0x10` or `0x10/0xff`: a mark, and which of its bits count.
pub(super) fn accepted_mark(settings: &Settings) -> Result<Option<(u32, u32)>, ConfigError> {
    let Some(word) = settings.last("bridge-accept-fwmark").filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = word.split_once('/').map_or((word, None), |(value, mask)| (value, Some(mask)));
    let mark = number(value).zip(mask.map_or(Some(u32::MAX), number));
    let mark = mark.filter(|(value, mask)| *mask != 0 && value & !mask == 0);
    let bad = || {
        refused(
            "bridge-accept-fwmark",
            word,
            "it must be a number, or value/mask with a value within the mask",
        )
    };
    mark.map(Some).ok_or_else(bad)
}

/// `base=10.0.0.0/8,size=24` of a flag, or `{"base": …, "size": …}` of the file; `None` when nobody says.
pub(super) fn address_pools(settings: &Settings) -> Result<Option<Vec<AddressPool>>, ConfigError> {
    let words = settings.all("default-address-pool");
    let pools: Vec<AddressPool> = words.iter().map(|word| address_pool(word)).collect::<Result<_, _>>()?;
    Ok((!pools.is_empty()).then_some(pools))
}

fn address_pool(word: &str) -> Result<AddressPool, ConfigError> {
    let bad = || refused("default-address-pool", word, "it must be base=<address>/<length>,size=<length>");
    let fields: BTreeMap<String, String> = match serde_json::from_str::<Value>(word) {
        Ok(Value::Object(fields)) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            fields.iter().map(|(key, value)| (key.to_ascii_lowercase(), text(value))).collect()
        }
        _ => {
            let pairs = word.split(',').map(|part| part.split_once('=').ok_or_else(bad));
            let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned())));
            pairs.collect::<Result<_, _>>()?
        }
    };
    let field = |key: &str| fields.get(key).ok_or_else(bad);
    let size: u8 = field("size")?.parse().map_err(|_| bad())?;
    engine::address_pool(field("base")?, size).ok_or_else(bad)
}

/// `bridge=com.docker.network.driver.mtu=1400` of a flag, or an object of the file: options by driver.
pub(super) fn network_options(
    settings: &Settings,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, ConfigError> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for word in settings.all("default-network-opt") {
        let bad = || refused("default-network-opt", word, "it must be driver=option=value");
        let (driver, rest) = word.split_once('=').ok_or_else(bad)?;
        let options = all.entry(driver.to_owned()).or_default();
        if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(rest) {
            for (key, value) in fields {
                options.insert(key, value.as_str().ok_or_else(bad)?.to_owned());
            }
        } else {
            let (key, value) = rest.split_once('=').ok_or_else(bad)?;
            options.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_number_with_or_without_a_mask() {
        let read = |word: &str| {
            let mut settings = Settings::default();
            settings.add("bridge-accept-fwmark", word.to_owned());
            accepted_mark(&settings).ok()
        };
        assert_eq!(read("1"), Some(Some((1, u32::MAX))));
        assert_eq!(read("0x10/0xf0"), Some(Some((16, 240))));
        assert_eq!(read(""), Some(None));
        for word in ["x", "1/0", "3/1", "-1", "1/2/3"] {
            assert_eq!(read(word), None, "{word}");
        }
    }

    #[test]
    fn pools_and_options_are_read_in_both_forms() {
        let mut settings = Settings::default();
        for word in ["base=10.0.0.0/8,size=24", r#"{"base":"fd00::/48","size":64}"#] {
            settings.add("default-address-pool", word.to_owned());
        }
        let pools = address_pools(&settings).expect("pools").expect("some");
        let shown: Vec<String> = pools.iter().map(|pool| format!("{} {}", pool.base, pool.size)).collect();
        assert_eq!(shown, ["10.0.0.0/8 24", "fd00::/48 64"]);
        for word in ["bridge=a=1", r#"bridge={"b":"2"}"#] {
            settings.add("default-network-opt", word.to_owned());
        }
        let options = network_options(&settings).expect("options");
        assert_eq!(format!("{options:?}"), r#"{"bridge": {"a": "1", "b": "2"}}"#);
        for word in ["base=10.0.0.0/8", "base=10.0.0.0/8,size=4", "base=x,size=24", "x"] {
            assert!(address_pool(word).is_err(), "{word}");
        }
    }
}
