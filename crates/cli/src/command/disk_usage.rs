//! `system df`: what images, containers, volumes and the build cache take on disk.

use api::container_list::Summary as Container;
use api::image::Summary as Image;
use api::volume::Volume;
use client::Request;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ps::FORMAT_HELP;
use super::{images, ps};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::{human_size, human_size_precise};
use crate::output::write;
use crate::session::Session;

/// `system df`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Show docker disk usage",
    paths: &["system df"],
    flags: &[&[
        Flag::text("format", FORMAT_HELP),
        Flag::switch("verbose", "Show detailed information on space usage").short('v'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

const KIND: Kind = Kind {
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

/// How much there is of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    total: i64,
    active: i64,
    bytes: i64,
    reclaimable: i64,
}

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    let answer: Value = client.json(Request::get("/system/df")).await?;
    let list = Lists::read(&answer)?;
    if typed.switch("verbose") && typed.text("format").is_empty() {
        write(&list.verbose()?)?;
        return Ok(0);
    }
    let rows: Vec<Row> = list.usages(&answer).into_iter().map(|(kind, usage)| row(kind, &usage)).collect();
    write(&render(&KIND, choose(typed.text("format"), false, ""), false, &rows)?)?;
    Ok(0)
}

fn row(kind: &str, usage: &Usage) -> Row {
    let percent = match (kind, usage.bytes) {
        ("Build Cache", _) | (_, ..=0) => String::new(),
        (_, bytes) => format!(" ({}%)", usage.reclaimable * 100 / bytes),
    };
    Row::new([
        ("Type", kind.to_owned()),
        ("TotalCount", usage.total.to_string()),
        ("Active", usage.active.to_string()),
        ("Size", human_size_precise(usage.bytes as f64)),
        ("Reclaimable", format!("{}{percent}", human_size_precise(usage.reclaimable as f64))),
    ])
}

struct Lists {
    images: Vec<Image>,
    containers: Vec<Container>,
    volumes: Vec<Volume>,
}

impl Lists {
    /// The lists of either shape: `ImageUsage.Items` since 1.52, `Images` before.
    fn read(answer: &Value) -> Result<Self, Failure> {
        Ok(Self {
            images: items(answer, "ImageUsage", "Images")?,
            containers: items(answer, "ContainerUsage", "Containers")?,
            volumes: items(answer, "VolumeUsage", "Volumes")?,
        })
    }

    fn usages(&self, answer: &Value) -> Vec<(&'static str, Usage)> {
        let told = |key: &str| answer.get(key).filter(|usage| usage.is_object()).map(usage_of);
        vec![
            (
                "Images",
                told("ImageUsage")
                    .unwrap_or_else(|| self.images(answer["LayersSize"].as_i64().unwrap_or_default())),
            ),
            ("Containers", told("ContainerUsage").unwrap_or_else(|| self.containers())),
            ("Local Volumes", told("VolumeUsage").unwrap_or_else(|| self.volumes())),
            ("Build Cache", told("BuildCacheUsage").unwrap_or_else(|| build_cache(&answer["BuildCache"]))),
        ]
    }

    fn images(&self, layers: i64) -> Usage {
        let active = self.images.iter().filter(|image| image.containers > 0);
        let used: i64 = active.clone().map(|image| image.size - image.shared_size.max(0)).sum();
        Usage {
            total: self.images.len() as i64,
            active: active.count() as i64,
            bytes: layers,
            reclaimable: layers - used,
        }
    }

    fn containers(&self) -> Usage {
        use api::container::ContainerState::{Paused, Restarting, Running};
        let runs = |container: &&Container| matches!(container.state, Running | Paused | Restarting);
        let bytes = self.containers.iter().map(|container| container.size_rw).sum();
        let used: i64 = self.containers.iter().filter(runs).map(|container| container.size_rw).sum();
        let active = self.containers.iter().filter(runs).count() as i64;
        Usage { total: self.containers.len() as i64, active, bytes, reclaimable: bytes - used }
    }

    fn volumes(&self) -> Usage {
        let mut usage = Usage { total: self.volumes.len() as i64, ..Usage::default() };
        for data in self.volumes.iter().filter_map(|volume| volume.usage_data.as_ref()) {
            usage.active += i64::from(data.ref_count > 0);
            usage.bytes += data.size.max(0);
            usage.reclaimable += if data.ref_count == 0 { data.size.max(0) } else { 0 };
        }
        usage
    }

    fn verbose(&self) -> Result<String, Failure> {
        let now = Timestamp::now();
        let images: Vec<Row> =
            self.images.iter().flat_map(|image| images::rows(image, false, true, now)).collect();
        let containers: Vec<Row> =
            self.containers.iter().map(|container| ps::row(container, true, now)).collect();
        let volumes: Vec<Row> = self.volumes.iter().map(volume_row).collect();
        Ok(format!(
            "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}",
            render(&IMAGES, "table", false, &images)?,
            render(&CONTAINERS, "table", false, &containers)?,
            render(&VOLUMES, "table", false, &volumes)?,
        ))
    }
}

const IMAGES: Kind = Kind {
    headings: images::HEADINGS,
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "{{.ID}}",
};

const CONTAINERS: Kind = Kind {
    headings: ps::HEADINGS,
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

const VOLUMES: Kind = Kind {
    headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
};

fn volume_row(volume: &Volume) -> Row {
    let usage = volume.usage_data.as_ref();
    Row::new([
        ("Name", volume.name.clone()),
        ("Links", usage.map_or("N/A".to_owned(), |usage| usage.ref_count.to_string())),
        ("Size", usage.map_or("N/A".to_owned(), |usage| human_size(usage.size as f64))),
    ])
}

fn items<T: DeserializeOwned>(answer: &Value, new: &str, old: &str) -> Result<Vec<T>, Failure> {
    let list = answer[new].get("Items").unwrap_or(&answer[old]);
    let list: Option<Vec<T>> = api::json::from_value(list)
        .map_err(|error| Failure::text(format!("cannot decode the list of {old}: {error}")))?;
    Ok(list.unwrap_or_default())
}

fn usage_of(value: &Value) -> Usage {
    let number = |key: &str| value[key].as_i64().unwrap_or_default();
    Usage {
        total: number("TotalCount"),
        active: number("ActiveCount"),
        bytes: number("TotalSize"),
        reclaimable: number("Reclaimable"),
    }
}

fn build_cache(records: &Value) -> Usage {
    let mut usage = Usage::default();
    for record in records.as_array().into_iter().flatten() {
        let truth = |key: &str| record[key].as_bool().unwrap_or_default();
        let size = record["Size"].as_i64().unwrap_or_default();
        usage.total += 1;
        usage.active += i64::from(truth("InUse"));
        if !truth("Shared") {
            usage.bytes += size;
            usage.reclaimable += if truth("InUse") { 0 } else { size };
        }
    }
    usage
}
