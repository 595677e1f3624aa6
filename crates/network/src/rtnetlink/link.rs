//! Links: `struct ifinfomsg` with its IFLA_ attributes (rtnetlink(7), linux/if_link.h).

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use crate::address::MacAddress;
use crate::netlink::{Attributes, Dumped, Message, attributes, find, flag, text, u32_at};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const VETH_INFO_PEER: u16 = 1;

const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
/// The group of the links that we make ("bert"), by which recovery knows them from those of others.
pub(crate) const OUR_GROUP: u32 = 0x6265_7274;
/// Leaves statistics out of the answer (RTEXT_FILTER_SKIP_STATS).
const SKIP_STATISTICS: u32 = 1 << 3;

/// How the interfaces of a macvlan see each other and the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// They reach one another directly.
    #[default]
    Bridge,
    /// They never reach one another.
    Private,
    /// They reach one another through the switch outside.
    Vepa,
    /// One of them takes the parent over.
    Passthru,
}

/// What an ipvlan does with packets between its interfaces and the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// Switches them.
    #[default]
    L2,
    /// Routes them.
    L3,
    /// Routes them through the host's packet filter and connection tracking.
    L3s,
}

/// How the interfaces of an ipvlan see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// They reach one another directly.
    #[default]
    Bridge,
    /// They never reach one another.
    Private,
    /// They reach one another through the switch outside.
    Vepa,
}

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface index.
    pub index: u32,
    /// The name.
    pub name: String,
    /// The kind, such as `bridge` or `veth`; `None` for a physical device and `lo`.
    pub kind: Option<String>,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// The hardware address, for links that have 48 bits of it.
    pub mac: Option<MacAddress>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether we made it.
    pub ours: bool,
}

/// A link to create.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NewLink<'a> {
    /// A bridge, down.
    Bridge { name: &'a str, mac: MacAddress, mtu: Option<u32> },
    /// A pair: the host's end up and a port of the bridge with index `bridge`; the peer born in `netns`, down.
    Veth {
        name: &'a str,
        bridge: u32,
        peer: &'a str,
        mac: MacAddress,
        mtu: Option<u32>,
        netns: BorrowedFd<'a>,
    },
    /// A macvlan on the link with index `parent`, born in `netns`, down.
    Macvlan {
        name: &'a str,
        parent: u32,
        mode: MacvlanMode,
        mac: MacAddress,
        mtu: Option<u32>,
        netns: BorrowedFd<'a>,
    },
    /// An ipvlan on the link with index `parent`, born in `netns`, down.
    Ipvlan {
        name: &'a str,
        parent: u32,
        mode: IpvlanMode,
        flag: IpvlanFlag,
        mtu: Option<u32>,
        netns: BorrowedFd<'a>,
    },
    /// A VLAN sub-interface of the link with index `parent`, up.
    Vlan { name: &'a str, parent: u32, id: u16 },
}

/// Creates a link; EEXIST when the name is taken.
pub(crate) fn create(link: NewLink<'_>) -> Message {
    let up = matches!(link, NewLink::Veth { .. } | NewLink::Vlan { .. });
    let header = header(0, 0, if up { IFF_UP } else { 0 });
    let mut message =
        Message::new(RTM_NEWLINK, flag::CREATE | flag::EXCLUSIVE, &header, format!("RTM_NEWLINK({link})"));
    let attributes = message.attributes();
    if !matches!(link, NewLink::Macvlan { .. } | NewLink::Ipvlan { .. }) {
        attributes.u32(IFLA_GROUP, OUR_GROUP);
    }
    match link {
        NewLink::Bridge { name, mac, mtu } => {
            push_identity(attributes, name, Some(mac), mtu);
            push_kind(attributes, "bridge", |_| {});
        }
        NewLink::Veth { name, bridge, peer, mac, mtu, netns } => {
            push_identity(attributes, name, None, mtu);
            attributes.u32(IFLA_MASTER, bridge);
            push_kind(attributes, "veth", |data| {
                data.nest_after(VETH_INFO_PEER, &self::header(0, 0, 0), |inner| {
                    push_identity(inner, peer, Some(mac), mtu);
                    push_netns(inner, netns);
                });
            });
        }
        NewLink::Macvlan { name, parent, mode, mac, mtu, netns } => {
            push_identity(attributes, name, Some(mac), mtu);
            attributes.u32(IFLA_LINK, parent);
            push_netns(attributes, netns);
            push_kind(attributes, "macvlan", |data| {
                data.u32(IFLA_MACVLAN_MODE, macvlan_mode(mode));
            });
        }
        NewLink::Ipvlan { name, parent, mode, flag, mtu, netns } => {
            push_identity(attributes, name, None, mtu);
            attributes.u32(IFLA_LINK, parent);
            push_netns(attributes, netns);
            push_kind(attributes, "ipvlan", |data| {
                data.u16(IFLA_IPVLAN_MODE, mode as u16).u16(IFLA_IPVLAN_FLAGS, flag as u16);
            });
        }
        NewLink::Vlan { name, parent, id } => {
            push_identity(attributes, name, None, None);
            attributes.u32(IFLA_LINK, parent);
            push_kind(attributes, "vlan", |data| {
                data.u16(IFLA_VLAN_ID, id);
            });
        }
    }
    message
}

/// Deletes a link.
pub(crate) fn delete(name: &str) -> Message {
    let mut message = Message::new(RTM_DELLINK, 0, &header(0, 0, 0), format!("RTM_DELLINK({name})"));
    message.attributes().string(IFLA_IFNAME, name);
    message
}

/// Brings a link up.
pub(crate) fn set_up(name: &str) -> Message {
    let header = header_with_change(0, 0, IFF_UP, IFF_UP);
    let mut message = Message::new(RTM_NEWLINK, 0, &header, format!("RTM_NEWLINK({name} up)"));
    message.attributes().string(IFLA_IFNAME, name);
    message
}

/// Sets a link's MTU in bytes.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Message {
    let header = header_with_change(0, index, 0, 0);
    let mut message = Message::new(RTM_NEWLINK, 0, &header, format!("RTM_NEWLINK(link {index} mtu {mtu})"));
    message.attributes().u32(IFLA_MTU, mtu);
    message
}

/// Gives a link another name.
pub(crate) fn rename(index: u32, name: &str) -> Message {
    let header = header_with_change(0, index, 0, 0);
    let mut message = Message::new(RTM_NEWLINK, 0, &header, format!("RTM_NEWLINK(link {index} as {name})"));
    message.attributes().string(IFLA_IFNAME, name);
    message
}

/// Makes a link a port of the bridge with index `bridge`.
pub(crate) fn set_master(index: u32, bridge: u32) -> Message {
    let header = header_with_change(0, index, 0, 0);
    let name = format!("RTM_NEWLINK(link {index} on bridge {bridge})");
    let mut message = Message::new(RTM_NEWLINK, 0, &header, name);
    message.attributes().u32(IFLA_MASTER, bridge);
    message
}

/// Sets whether a bridge port exchanges frames with the other isolated ports, and whether it sends frames back that
/// came in through it.
pub(crate) fn set_port(index: u32, isolated: bool, reflecting: bool) -> Message {
    let header = header_with_change(AF_BRIDGE, index, 0, 0);
    let name = format!("RTM_SETLINK(bridge port {index})");
    let mut message = Message::new(RTM_SETLINK, 0, &header, name);
    message.attributes().nest(IFLA_PROTINFO, |port| {
        port.u8(IFLA_BRPORT_MODE, u8::from(reflecting)).u8(IFLA_BRPORT_ISOLATED, u8::from(isolated));
    });
    message
}

/// Asks for one link by name.
pub(crate) fn get(name: &str) -> Message {
    let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0), format!("RTM_GETLINK({name})"));
    message.attributes().string(IFLA_IFNAME, name).u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    message
}

/// Asks for all links.
pub(crate) fn list_links() -> Message {
    let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0), "RTM_GETLINK(all)");
    message.attributes().u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    message
}

/// Reads a link; `None` when it is not well formed.
pub(crate) fn parse_link((_, payload): Dumped<'_>) -> Option<Link> {
    let list = attributes(payload.get(16..)?)?;
    let number = |kind| find(&list, kind).and_then(|bytes| u32_at(bytes, 0));
    let info = find(&list, IFLA_LINKINFO).map_or(Some(Vec::new()), attributes)?;
    Some(Link {
        index: u32_at(payload, 4)?,
        name: text(find(&list, IFLA_IFNAME)?),
        kind: find(&info, IFLA_INFO_KIND).map(text),
        master: number(IFLA_MASTER),
        mac: find(&list, IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(MacAddress),
        mtu: number(IFLA_MTU).unwrap_or_default(),
        up: u32_at(payload, 8)? & IFF_UP != 0,
        ours: number(IFLA_GROUP) == Some(OUR_GROUP),
    })
}

impl fmt::Display for NewLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { name, .. } => write!(f, "bridge {name}"),
            Self::Veth { name, bridge, peer, .. } => {
                write!(f, "veth {name} on bridge {bridge}, peer {peer} in the container")
            }
            Self::Macvlan { name, parent, .. } => {
                write!(f, "macvlan {name} on link {parent} in the container")
            }
            Self::Ipvlan { name, parent, .. } => write!(f, "ipvlan {name} on link {parent} in the container"),
            Self::Vlan { name, parent, id } => write!(f, "vlan {name} on link {parent} id {id}"),
        }
    }
}

fn macvlan_mode(mode: MacvlanMode) -> u32 {
    match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    }
}

fn push_identity(attributes: &mut Attributes, name: &str, mac: Option<MacAddress>, mtu: Option<u32>) {
    attributes.string(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        attributes.bytes(IFLA_ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        attributes.u32(IFLA_MTU, mtu);
    }
}

fn push_kind(attributes: &mut Attributes, kind: &str, data: impl FnOnce(&mut Attributes)) {
    attributes.nest(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_KIND, kind).nest(IFLA_INFO_DATA, data);
    });
}

fn push_netns(attributes: &mut Attributes, netns: BorrowedFd<'_>) {
    attributes.bytes(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
}

fn header(family: u8, index: u32, flags: u32) -> [u8; 16] {
    header_with_change(family, index, flags, flags)
}

/// `struct ifinfomsg`: family, type 0, index, flags, and the flags that are to change.
fn header_with_change(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
