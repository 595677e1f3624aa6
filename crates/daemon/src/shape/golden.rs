//! Whole bodies as this engine gives them, or as Docker's client sends them, and what each version makes of them.
//!
//! A file of `golden/` holds one body in several shapes, newest version first. A version is there when its shape differs
//! from the next newer one's; the first shape of an answer is the body as the engine gave it.

use api::container_create::{CreateRequest, UpdateRequest};
use api::exec::ExecCreateRequest;
use api::filters::Filters;
use api::network;
use api::version::{ApiVersion, FLOOR, MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Answer, answer, create, disk_usage};

/// Begins the line that names a version.
const MARK: &str = "=== ";

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// Prints what every version makes of something, where it changes.
fn print(shape: impl Fn(ApiVersion) -> String) -> String {
    let (mut printed, mut before) = (String::new(), String::new());
    for minor in (FLOOR.minor..=MAX.minor).rev() {
        let version = ApiVersion::v1(minor);
        let text = shape(version);
        if text != before {
            printed.push_str(&format!("{MARK}{version}\n{text}\n"));
        }
        before = text;
    }
    printed
}

/// The first body of a file.
fn first(golden: &str) -> Value {
    let body = golden.strip_prefix(MARK).and_then(|rest| rest.split_once('\n')).unwrap().1;
    serde_json::from_str(body.split(&format!("\n{MARK}")).next().unwrap()).unwrap()
}

/// Compares version by version, so that a difference is seen where it is.
fn compare(name: &str, found: &str, golden: &str) {
    let cut = |text: &str| text.split(MARK).map(str::to_owned).collect::<Vec<_>>();
    for (found, golden) in cut(found).iter().zip(&cut(golden)) {
        assert_eq!(found, golden, "{name}: found\n{found}");
    }
    assert_eq!(found, golden, "{name}: found\n{found}");
}

/// The fields of a body are those that the type prints: nothing is lost on the way to a client.
fn knows<T: Serialize + DeserializeOwned>(name: &str, body: &Value) {
    let read: T = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(pretty(&read), pretty(body), "{name}");
}

macro_rules! answers {
    ($($test:ident: $kind:ident, $type:ty, $file:literal;)*) => {$(
        #[test]
        fn $test() {
            let golden = include_str!(concat!("golden/", $file, ".txt"));
            let newest = first(golden);
            knows::<$type>($file, &newest);
            let shape = |version: ApiVersion| {
                let mut value = newest.clone();
                match &mut value {
                    Value::Array(rows) => rows.iter_mut().for_each(|row| answer(Answer::$kind, version, row)),
                    whole => answer(Answer::$kind, version, whole),
                }
                pretty(&value)
            };
            compare($file, &print(shape), golden);
        }
    )*};
}

answers! {
    container_inspect: ContainerInspect, api::container_inspect::Inspect, "container_inspect";
    container_list: ContainerSummary, Vec<api::container_list::Summary>, "container_list";
    image_inspect: ImageInspect, api::image_inspect::Inspect, "image_inspect";
    image_list: ImageSummary, Vec<api::image::Summary>, "image_list";
    network_inspect: NetworkInspect, api::network::Inspect, "network_inspect";
    network_list: NetworkSummary, Vec<api::network::Network>, "network_list";
    info: Info, api::system::Info, "info";
    events: Event, Vec<api::events::Message>, "events";
    auth: Auth, api::registry::AuthResponse, "auth";
}

#[test]
fn disk_usages() {
    let golden = include_str!("golden/disk_usage.txt");
    let newest = first(golden);
    knows::<api::disk_usage::DiskUsage>("disk_usage", &newest);
    let shape = |verbose: bool| {
        let newest = newest.clone();
        print(move |version| {
            let mut value = newest.clone();
            disk_usage(version, verbose, &mut value);
            pretty(&value)
        })
    };
    // Who asks for details gets the parts alone, since there are parts.
    compare("disk_usage", &shape(true), golden);
    compare("disk_usage_brief", &shape(false), include_str!("golden/disk_usage_brief.txt"));
}

/// What versions make of a request: it as the newest would say it, and warnings or the refusal.
fn check_request<T: Serialize + DeserializeOwned>(
    name: &str,
    request: &str,
    golden: &str,
    shape: impl Fn(ApiVersion, &mut T) -> String,
) {
    let found = print(|version| {
        let mut request: T = api::json::from_value(&serde_json::from_str(request).unwrap()).unwrap();
        let said = shape(version, &mut request);
        if said.starts_with("4") { said } else { format!("{}{said}", pretty(&request)) }
    });
    compare(name, &found, golden);
}

fn check_create(name: &str, request: &str, golden: &str) {
    check_request(name, request, golden, |version, request: &mut CreateRequest| {
        match create::create(version, request, false) {
            Ok(warnings) => warnings.iter().map(|warning| format!("\n! {warning}")).collect(),
            Err(failure) => format!("{} {failure}", failure.status.as_u16()),
        }
    });
}

#[test]
fn requests_to_create_containers() {
    check_create("create", include_str!("golden/create.json"), include_str!("golden/create.txt"));
    check_create(
        "create_mounts",
        include_str!("golden/create_mounts.json"),
        include_str!("golden/create_mounts.txt"),
    );
    check_create(
        "create_networks",
        include_str!("golden/create_networks.json"),
        include_str!("golden/create_networks.txt"),
    );
}

#[test]
fn requests_to_update_containers() {
    check_request(
        "update",
        include_str!("golden/update.json"),
        include_str!("golden/update.txt"),
        |version, request: &mut UpdateRequest| {
            create::update(version, request);
            String::new()
        },
    );
}

/// Requests of which a version ignores a field.
#[test]
fn requests_of_other_kinds() {
    let before = |version: ApiVersion, minor: u32| version < ApiVersion::v1(minor);
    check_request(
        "network_create",
        r#"{"Name":"web","Driver":"bridge","EnableIPv4":false,"EnableIPv6":true,"Labels":{"a":"b"}}"#,
        include_str!("golden/network_create.txt"),
        |version, request: &mut network::CreateRequest| {
            if before(version, 48) {
                super::v1_48::create_network(request);
            }
            String::new()
        },
    );
    check_request(
        "network_connect",
        r#"{"Container":"c","EndpointConfig":{"Aliases":["db"],"MacAddress":"02:42:0a:00:00:05","GwPriority":7}}"#,
        include_str!("golden/network_connect.txt"),
        |version, request: &mut network::ConnectRequest| {
            if before(version, 54) {
                super::v1_54::connect(request);
            }
            String::new()
        },
    );
    check_request(
        "exec_create",
        r#"{"Cmd":["sh"],"Tty":true,"AttachStdin":true,"ConsoleSize":[40,120],"DetachKeys":"ctrl-x"}"#,
        include_str!("golden/exec_create.txt"),
        |version, request: &mut ExecCreateRequest| {
            if before(version, 42) {
                super::v1_42::create_exec(request);
            }
            String::new()
        },
    );
}

/// Filters as the newest version would say them.
#[test]
fn filters() {
    let shown = |filters: &Filters, keys: &[&str]| {
        let lines =
            keys.iter().map(|key| format!("{key}={}", filters.get(key).collect::<Vec<_>>().join(",")));
        lines.collect::<Vec<_>>().join("\n")
    };
    let list = print(|version| {
        let mut filters = Filters::parse(r#"{"label":{"a=b":true}}"#).unwrap();
        if version < ApiVersion::v1(25) {
            super::v1_25::list_images(&mut filters, "debian*");
        }
        shown(&filters, &["label", "reference"])
    });
    assert_eq!(list, "=== 1.57\nlabel=a=b\nreference=\n=== 1.24\nlabel=a=b\nreference=debian*\n");
    let prune = print(|version| {
        let mut filters = Filters::parse(r#"{"label":["a=b"]}"#).unwrap();
        if version < ApiVersion::v1(42) {
            super::v1_42::prune_volumes(&mut filters);
        }
        shown(&filters, &["label", "all"])
    });
    assert_eq!(prune, "=== 1.57\nlabel=a=b\nall=\n=== 1.41\nlabel=a=b\nall=true\n");
}
