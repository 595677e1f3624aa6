//! Removing everything that is not used: each thing is there whole, or gone; all are gone once the daemon has said so.

use super::operations::{Operation, Side, ask, service_that_ends};
use super::{images, networks, volumes};
use anyhow::{Result, bail};

pub(super) fn all() -> Vec<Operation> {
    vec![
        Operation {
            name: "container prune",
            prepare: |api| {
                for name in CONTAINERS {
                    api.run_container(name, &service_that_ends())?;
                }
                Ok(())
            },
            act: |api| ask(api, "/containers/prune"),
            judge: |api| {
                let mut left = 0;
                for name in CONTAINERS {
                    match api.status(name)?.as_str() {
                        "absent" => {}
                        "exited" | "dead" | "removing" => left += 1,
                        other => bail!("{name} is {other}"),
                    }
                }
                Ok(all_gone(left))
            },
            finish: |api, _| CONTAINERS.iter().try_for_each(|name| api.remove(name)),
        },
        Operation {
            name: "volume prune",
            prepare: |api| {
                for name in VOLUMES {
                    volumes::create(api, name)?;
                    volumes::use_it(api, name)?;
                }
                Ok(())
            },
            act: |api| ask(api, "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D"),
            judge: |api| left(VOLUMES, |name| volumes::exists(api, name)),
            finish: |api, _| {
                for name in VOLUMES {
                    if volumes::exists(api, name)? == Side::After {
                        volumes::use_it(api, name)?;
                        volumes::remove(api, name)?;
                    }
                }
                Ok(())
            },
        },
        Operation {
            name: "network prune",
            prepare: networks::create,
            act: |api| ask(api, "/networks/prune"),
            judge: |api| images::opposite(networks::exists(api)),
            finish: |api, side| {
                if side == Side::Before {
                    networks::use_it(api)?;
                    networks::remove(api)?;
                }
                Ok(())
            },
        },
        Operation {
            name: "image prune",
            prepare: |api| {
                images::import(api)?;
                api.pull()?;
                // Something that uses the image which is to stay.
                api.create("keeper", &service_that_ends())
            },
            act: |api| ask(api, "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D"),
            judge: |api| {
                let remote = api.remote().0;
                if images::exists(api, crate::fixture::BUSYBOX)? == Side::Before {
                    bail!("an image that is used is gone");
                }
                left(&[images::SMALL, &remote], |name| images::exists(api, name))
            },
            finish: |api, _| {
                let remote = api.remote().0;
                for name in [images::SMALL, &remote] {
                    if images::exists(api, name)? == Side::After {
                        images::try_out(api, name)?;
                        images::remove(api, name)?;
                    }
                }
                // What could not be freed then is freed with this one.
                images::import(api)?;
                images::remove(api, images::SMALL)?;
                api.remove("keeper")
            },
        },
    ]
}

const CONTAINERS: &[&str] = &["pruned-1", "pruned-2"];
const VOLUMES: &[&str] = &["pruned-1", "pruned-2"];

fn all_gone(left: usize) -> Side {
    if left == 0 { Side::After } else { Side::Before }
}

/// Whether something is still there of what is to go.
fn left(names: &[&str], exists: impl Fn(&str) -> Result<Side>) -> Result<Side> {
    let mut left = 0;
    for name in names {
        left += usize::from(exists(name)? == Side::After);
    }
    Ok(all_gone(left))
}
