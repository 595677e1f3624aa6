//! The other way to make a group: asking systemd for a scope, so that it knows of the container and leaves it alone.
//!
//! systemd makes the group and moves the first process in; with `Delegate=yes` everything below belongs to us, and the
//! limits are then written as always. Those that systemd knows as properties are told to it as well, because it writes
//! its own values again whenever it is reloaded.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Cgroup, CgroupPath, Error, Hierarchy, Limits, Result, Version};

mod bus;
#[cfg(test)]
mod fuzz;
mod message;
mod properties;

#[cfg(test)]
mod tests;

use bus::Bus;
pub use message::Value;
pub use properties::{DeviceNames, plan_properties};

/// Where the system's own manager listens for root.
pub const SYSTEM_SOCKET: &str = "/run/systemd/private";

/// How long a job of systemd may take.
const JOB_WITHIN: Duration = Duration::from_secs(30);

/// A scope of systemd, as `linux.cgroupsPath` names it: `slice:prefix:name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The slice it lies in, for example `system.slice`; `-.slice` is the top.
    pub slice: String,
    /// The scope, for example `docker-4f2a….scope`; or, when the container is a slice itself, that slice.
    pub name: String,
}

impl Unit {
    /// Parses `slice:prefix:name`; an empty slice is `system.slice`, or `user.slice` for a manager of a user.
    ///
    /// Without the two colons the container gets a scope `runc-<id>.scope` of its own, as runc names it.
    pub fn parse(cgroups_path: &str, container_id: &str, of_a_user: bool) -> Result<Self> {
        let bad = |reason| Error::Path { path: cgroups_path.chars().take(256).collect(), reason };
        let usual = if of_a_user { "user.slice" } else { "system.slice" };
        let (slice, prefix, name) = match cgroups_path.split(':').collect::<Vec<_>>()[..] {
            [""] => (usual, "runc", container_id),
            ["", prefix, name] => (usual, prefix, name),
            [slice, prefix, name] => (slice, prefix, name),
            _ => return Err(bad("is not of the form slice:prefix:name, which the systemd driver needs")),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\:@".contains(c);
        if !slice.ends_with(".slice") || slice.contains(['/', '@']) || !slice.chars().all(fits) {
            return Err(bad("begins with something that is not a slice of systemd"));
        }
        let stem = slice.trim_end_matches(".slice");
        if stem != "-" && stem.split('-').any(str::is_empty) {
            return Err(bad("begins with a slice that has an empty part"));
        }
        let name = match (prefix, name) {
            (_, name) if name.ends_with(".slice") => name.to_owned(),
            ("", name) => format!("{name}.scope"),
            (prefix, name) => format!("{prefix}-{name}.scope"),
        };
        if name.len() > 255 || !name.chars().all(fits) || name.starts_with('.') {
            return Err(bad("ends in something that cannot be the name of a unit"));
        }
        Ok(Self { slice: slice.to_owned(), name })
    }

    /// The path of its group below that of the manager, which is `/` for the system's own: `a-b.slice` lies in
    /// `a.slice` (systemd.slice(5)).
    pub fn cgroup_path(&self, manager: &str) -> Result<CgroupPath> {
        let mut path = manager.trim_end_matches('/').to_owned();
        let mut above = String::new();
        let stem = self.slice.trim_end_matches(".slice");
        for part in stem.split('-').filter(|_| stem != "-") {
            above = if above.is_empty() { part.to_owned() } else { format!("{above}-{part}") };
            path += &format!("/{above}.slice");
        }
        CgroupPath::parse(&format!("{path}/{}", self.name))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A connection to one manager of systemd.
#[derive(Debug)]
pub struct Systemd {
    bus: Bus,
    /// Its version, for example 252.
    version: u32,
    /// The group that its units lie in; empty for the system's own.
    control_group: String,
}

impl Systemd {
    /// Connects to a manager's private socket: [`SYSTEM_SOCKET`], or `$XDG_RUNTIME_DIR/systemd/private` of a user.
    pub fn connect(socket: &Path) -> Result<Self> {
        let mut bus = Bus::connect(socket)?;
        let version = bus.manager_property("Version")?;
        // "252.39-1~deb12u1", or "v257.3" on some distributions.
        let digits =
            version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let version = digits.parse().map_err(|_| bus.unexpected(format!("version {version:?}")))?;
        let control_group = bus.manager_property("ControlGroup")?;
        Ok(Self { bus, version, control_group })
    }

    /// The manager's version, for example 252.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The group that its units lie in; empty for the system's own.
    #[must_use]
    pub fn control_group(&self) -> &str {
        &self.control_group
    }

    /// The path of a unit's group.
    pub fn cgroup_path(&self, unit: &Unit) -> Result<CgroupPath> {
        unit.cgroup_path(&self.control_group)
    }

    /// Makes the scope with a first process in it, told of the limits it knows, and opens its group in every tree.
    ///
    /// A failed scope of the same name that is left over from before is cleared away first.
    pub fn create(
        &mut self,
        hierarchy: &Hierarchy,
        unit: &Unit,
        description: &str,
        pid: u32,
        limits: &Limits,
    ) -> Result<Cgroup> {
        let mut properties = vec![
            ("Description".to_owned(), Value::Text(description.to_owned())),
            ("Delegate".to_owned(), Value::Flag(true)),
            ("DefaultDependencies".to_owned(), Value::Flag(false)),
        ];
        match unit.name.ends_with(".slice") {
            true => properties.push(("Wants".to_owned(), Value::Texts(vec![unit.slice.clone()]))),
            false => {
                properties.push(("Slice".to_owned(), Value::Text(unit.slice.clone())));
                properties.push(("PIDs".to_owned(), Value::Numbers32(vec![pid])));
            }
        }
        let accounting = ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"];
        properties.extend(accounting.map(|name| (name.to_owned(), Value::Flag(true))));
        properties.extend(plan_properties(
            limits,
            hierarchy.version(),
            self.version,
            &device_names(limits)?,
        )?);
        let start =
            |bus: &mut Bus| bus.start_transient_unit(&unit.name, &properties, Instant::now() + JOB_WITHIN);
        match start(&mut self.bus) {
            Err(Error::Systemd { ref name, .. }) if name.ends_with(".UnitExists") => {
                self.bus.unit_call("ResetFailedUnit", &unit.name)?;
                start(&mut self.bus)?;
            }
            result => result?,
        }
        let group = Cgroup::join(hierarchy, &self.cgroup_path(unit)?)?;
        group.add(pid)?;
        Ok(group)
    }

    /// Tells the manager of changed limits, so that it does not put the old ones back.
    pub fn update(&mut self, unit: &Unit, limits: &Limits, version: Version) -> Result<()> {
        let properties = plan_properties(limits, version, self.version, &device_names(limits)?)?;
        self.bus.set_unit_properties(&unit.name, &properties)
    }

    /// Stops the scope; one that is not there counts as stopped. The processes must have ended before.
    pub fn stop(&mut self, unit: &Unit) -> Result<()> {
        let stopped = self.bus.stop_unit(&unit.name, Instant::now() + JOB_WITHIN);
        // A scope that failed stays listed until it is reset; one that did not is gone already.
        let reset = self.bus.unit_call("ResetFailedUnit", &unit.name);
        for result in [stopped, reset] {
            match result {
                Err(Error::Systemd { ref name, .. }) if name.ends_with(".NoSuchUnit") => {}
                result => result?,
            }
        }
        Ok(())
    }
}

/// The kernel's names of devices, when rules are about devices.
fn device_names(limits: &Limits) -> Result<DeviceNames> {
    if limits.devices.is_empty() {
        return Ok(DeviceNames::default());
    }
    let text = std::fs::read_to_string("/proc/devices").map_err(|error| {
        linux::Error::new("read(/proc/devices)", error.raw_os_error().unwrap_or_default())
    })?;
    Ok(DeviceNames::parse(&text))
}
