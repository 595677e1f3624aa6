//! Processes, huge pages, remote memory access, packets, and files of v2 by their own name.

use std::collections::BTreeMap;

use super::{Plan, invalid, unsupported};
use crate::limits::RdmaLimits;
use crate::{Amount, Controller, Limits, Result};

/// Core files that say what a group is and who is in it, which is for us alone to say.
const RESERVED: &[&str] = &[
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.type",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.subtree_control",
];

impl Plan<'_> {
    pub(super) fn pids(&mut self, pids: Option<Amount>) -> Result<()> {
        let Some(pids) = pids else { return Ok(()) };
        self.need(Controller::Pids, "pids limit")?;
        let value = match pids {
            Amount::Unlimited => "max".to_owned(),
            // systemd cannot say 0, so that both drivers say 1, which lets no second process be made either.
            Amount::Of(limit) => limit.max(1).to_string(),
        };
        self.write(Controller::Pids, "pids.max", value);
        Ok(())
    }

    pub(super) fn hugetlb(&mut self, hugetlb: &[(String, u64)]) -> Result<()> {
        for (size, limit) in hugetlb {
            self.need(Controller::Hugetlb, "hugetlb limits")?;
            if !is_page_size(size) {
                return Err(invalid(
                    format!("hugetlb page size {size:?}"),
                    "must be a size such as 2MB or 1GB",
                ));
            }
            let suffix = if self.v1() { "limit_in_bytes" } else { "max" };
            self.write(Controller::Hugetlb, format!("hugetlb.{size}.{suffix}"), limit);
            if self.facts.hugetlb_reservations {
                self.write(Controller::Hugetlb, format!("hugetlb.{size}.rsvd.{suffix}"), limit);
            }
        }
        Ok(())
    }

    pub(super) fn rdma(&mut self, rdma: &BTreeMap<String, RdmaLimits>) -> Result<()> {
        for (device, limits) in rdma {
            self.need(Controller::Rdma, "rdma limits")?;
            if device.is_empty() || device.chars().any(|c| c.is_whitespace() || c.is_control() || c == '=') {
                return Err(invalid(format!("rdma device {device:?}"), "is not a device's name"));
            }
            let mut value = device.clone();
            let parts = [("hca_handle", limits.handles), ("hca_object", limits.objects)];
            for (key, limit) in parts.into_iter().filter_map(|(key, limit)| Some((key, limit?))) {
                value += &format!(" {key}={limit}");
            }
            if value != *device {
                self.write(Controller::Rdma, "rdma.max", value);
            }
        }
        Ok(())
    }

    pub(super) fn network(&mut self, limits: &Limits) -> Result<()> {
        if (limits.net_class.is_some() || !limits.net_priorities.is_empty()) && !self.v1() {
            return Err(unsupported("network class and priorities", "cgroup v2 has none"));
        }
        if let Some(class) = limits.net_class {
            self.need(Controller::NetCls, "network class")?;
            self.write(Controller::NetCls, "net_cls.classid", class);
        }
        for (interface, priority) in &limits.net_priorities {
            self.need(Controller::NetPrio, "network priorities")?;
            if interface.is_empty() || interface.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(invalid(
                    format!("network interface {interface:?}"),
                    "is not an interface's name",
                ));
            }
            self.write(Controller::NetPrio, "net_prio.ifpriomap", format!("{interface} {priority}"));
        }
        Ok(())
    }

    pub(super) fn unified(&mut self, unified: &BTreeMap<String, String>) -> Result<()> {
        for (file, content) in unified {
            let what = format!("unified {file:?}");
            if self.v1() {
                return Err(invalid(what, "invalid configuration: cgroup v1 has no such files"));
            }
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
            let (Some((prefix, _)), true) = (file.split_once('.'), file.chars().all(letters)) else {
                return Err(invalid(what, "is not the name of a control file"));
            };
            if RESERVED.contains(&file.as_str()) {
                return Err(invalid(what, "may not be written by a configuration"));
            }
            let controller = match prefix {
                "cgroup" => Controller::Freezer,
                prefix => {
                    let named = Controller::ALL.iter().find(|c| c.unified_name() == prefix);
                    *named.ok_or_else(|| unsupported(&what, "no such controller is known"))?
                }
            };
            if prefix != "cgroup" {
                self.need(controller, &what)?;
            }
            // Files that hold one line per device take one line per write.
            for line in content.lines() {
                self.write(controller, file.as_str(), line);
            }
        }
        Ok(())
    }
}

/// Whether this is how the kernel names a size of huge pages: it becomes part of a file's name.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
