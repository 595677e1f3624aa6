//! Steps as nf_tables messages (linux/netfilter/nf_tables.h).

use super::change::{Batch, Element, Step};
use super::expression::{push_action, push_match};
use super::ruleset::Protocol;
use super::table::{Action, Base, Data, DataType, Field, Kind, Match, Place, Rule, Set, Type};
use crate::address::octets;
use crate::interface::InterfaceName;
use crate::netlink::{Attributes, Message, flag};

pub(crate) const SUBSYSTEM: u16 = 10;

pub(crate) const GET_CHAIN: u16 = 4;
pub(crate) const GET_RULE: u16 = 7;
pub(crate) const GET_SET: u16 = 10;
pub(crate) const GET_ELEMENTS: u16 = 13;
const NEW_TABLE: u16 = 0;
pub(crate) const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
pub(crate) const NEW_RULE: u16 = 6;
pub(crate) const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

/// The first attribute of most messages is the table's name, the second or third that of what is in it.
pub(crate) const A_TABLE: u16 = 1;
pub(crate) const TABLE_FLAGS: u16 = 2;
/// The table belongs to the socket that made it: nobody else can change it, and a flush of everything leaves it out.
pub(crate) const TABLE_OWNED: u32 = 2;
/// It stays when that socket is closed, for the next owner. Linux 6.9.
pub(crate) const TABLE_PERSISTS: u32 = 4;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const CHAIN_TYPE: u16 = 7;
pub(crate) const HOOK_NUMBER: u16 = 1;
pub(crate) const HOOK_PRIORITY: u16 = 2;
pub(crate) const RULE_CHAIN: u16 = 2;
pub(crate) const RULE_HANDLE: u16 = 3;
pub(crate) const RULE_EXPRESSIONS: u16 = 4;
pub(crate) const RULE_USERDATA: u16 = 7;
pub(crate) const SET_NAME: u16 = 2;
pub(crate) const SET_FLAGS: u16 = 3;
pub(crate) const SET_KEY_TYPE: u16 = 4;
pub(crate) const SET_KEY_LENGTH: u16 = 5;
pub(crate) const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
pub(crate) const SET_ANONYMOUS: u32 = 1;
const SET_MAP: u32 = 8;
const SET_USERDATA: u16 = 13;
/// What nft(8) wants to know to print a key that is text: type 0, length 4, host byte order.
const KEY_IN_HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
pub(crate) const ELEMENTS_LIST: u16 = 3;
pub(crate) const ELEMENT_KEY: u16 = 1;
pub(crate) const ELEMENT_DATA: u16 = 2;
pub(crate) const LIST_ELEMENT: u16 = 1;
pub(crate) const DATA_VALUE: u16 = 1;
pub(crate) const DATA_VERDICT: u16 = 2;
pub(crate) const VERDICT_CODE: u16 = 1;
pub(crate) const VERDICT_CHAIN: u16 = 2;
const TYPE_VERDICT: u32 = 0xffff_ff00;
pub(super) const VERDICT_JUMP: i32 = -3;
pub(super) const VERDICT_ACCEPT: i32 = 1;

/// Elements of one message; a message's list must stay below 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// The opening bracket of a transaction.
pub(crate) fn batch_begin() -> Message {
    bracket(16, "nf_tables batch")
}

/// The closing bracket.
pub(crate) fn batch_end() -> Message {
    bracket(17, "nf_tables batch end")
}

fn bracket(kind: u16, name: &str) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low], name)
}

/// A request of nf_tables about a table of `family`.
pub(crate) fn request(kind: u16, flags: u16, family: u8, name: String) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[family, 0, 0, 0], name)
}

/// The messages of a batch, in order.
pub(crate) fn encode(batch: &Batch) -> Vec<Message> {
    let mut messages = Vec::new();
    let steps = batch.parts.iter().flat_map(|part| part.steps.iter().map(|step| (part.place, step)));
    for (number, (place, step)) in (1u32..).zip(steps) {
        match step {
            Step::AddElements { set, elements } => {
                elements_messages(&mut messages, (place, NEW_ELEMENTS, flag::CREATE), set, elements);
            }
            Step::DeleteElements { set, elements } => {
                elements_messages(&mut messages, (place, DELETE_ELEMENTS, 0), set, elements);
            }
            step => messages.push(message(place, step, number)),
        }
    }
    messages
}

fn message(place: Place, step: &Step, number: u32) -> Message {
    let build = |kind, flags| {
        let mut message = request(kind, flags, place.family(), step.of(place).to_string());
        message.attributes().string(A_TABLE, place.table());
        message
    };
    match step {
        Step::AddTable { held } => {
            let mut message = build(NEW_TABLE, flag::CREATE);
            if *held {
                message.attributes().be32(TABLE_FLAGS, TABLE_OWNED | TABLE_PERSISTS);
            }
            message
        }
        Step::DeleteTable => build(DELETE_TABLE, 0),
        Step::AddSet { name, set } => {
            let mut message = build(NEW_SET, flag::CREATE);
            set_attributes(message.attributes().string(SET_NAME, name), set, number);
            message
        }
        Step::FlushSet { name } => named(build(DELETE_ELEMENTS, 0), SET_NAME, name),
        Step::DeleteSet { name } => named(build(DELETE_SET, 0), SET_NAME, name),
        Step::AddChain { name, base } => {
            let mut message = named(build(NEW_CHAIN, flag::CREATE), CHAIN_NAME, name);
            if let Some(base) = base {
                base_attributes(message.attributes(), base);
            }
            message
        }
        Step::FlushChain { name } => named(build(DELETE_RULE, 0), RULE_CHAIN, name),
        Step::DeleteChain { name } => named(build(DELETE_CHAIN, 0), CHAIN_NAME, name),
        Step::AddRule { chain, rule } => {
            let mut message = named(build(NEW_RULE, flag::CREATE | flag::APPEND), RULE_CHAIN, chain);
            rule_attributes(message.attributes(), rule);
            message
        }
        Step::AddElements { .. } | Step::DeleteElements { .. } => build(NEW_ELEMENTS, flag::CREATE),
    }
}

/// A batch that a kernel refuses whose tables cannot be held, and that leaves nothing behind.
pub(crate) fn hold_trial() -> Vec<Message> {
    const NAME: &str = "berth-trial";
    let build = |kind, flags, what: &str| {
        let mut message = request(kind, flags, Place::Packets.family(), format!("{what} table inet {NAME}"));
        message.attributes().string(A_TABLE, NAME);
        message
    };
    let mut made = build(NEW_TABLE, flag::CREATE, "add");
    made.attributes().be32(TABLE_FLAGS, TABLE_OWNED | TABLE_PERSISTS);
    vec![made, build(DELETE_TABLE, 0, "delete")]
}

fn named(mut message: Message, kind: u16, name: &str) -> Message {
    message.attributes().string(kind, name);
    message
}

fn elements_messages(
    messages: &mut Vec<Message>,
    (place, kind, flags): (Place, u16, u16),
    set: &str,
    elements: &[Element],
) {
    for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
        let (set_name, elements) = (set.to_owned(), part.to_vec());
        let step = if kind == NEW_ELEMENTS {
            Step::AddElements { set: set_name, elements }
        } else {
            Step::DeleteElements { set: set_name, elements }
        };
        let mut message = request(kind, flags, place.family(), step.of(place).to_string());
        message.attributes().string(A_TABLE, place.table()).string(SET_NAME, set).nest(
            ELEMENTS_LIST,
            |list| {
                for (key, data) in part {
                    list.nest(LIST_ELEMENT, |element| {
                        push_value(element, ELEMENT_KEY, &fields_bytes(key));
                        if let Some(data) = data {
                            push_data(element, data);
                        }
                    });
                }
            },
        );
        messages.push(message);
    }
}

fn push_data(element: &mut Attributes, data: &Data) {
    match data {
        Data::Fields(fields) => push_value(element, ELEMENT_DATA, &fields_bytes(fields)),
        Data::Accept => {
            element.nest(ELEMENT_DATA, |data| push_verdict(data, VERDICT_ACCEPT, None));
        }
        Data::Jump(chain) => {
            element.nest(ELEMENT_DATA, |data| push_verdict(data, VERDICT_JUMP, Some(chain)));
        }
    }
}

pub(super) fn push_value(attributes: &mut Attributes, kind: u16, value: &[u8]) {
    attributes.nest(kind, |data| {
        data.bytes(DATA_VALUE, value);
    });
}

pub(super) fn push_verdict(data: &mut Attributes, code: i32, chain: Option<&str>) {
    data.nest(DATA_VERDICT, |verdict| {
        verdict.be32(VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict.string(VERDICT_CHAIN, chain);
        }
    });
}

fn set_attributes(attributes: &mut Attributes, set: &Set, number: u32) {
    attributes.be32(SET_FLAGS, if set.data.is_some() { SET_MAP } else { 0 });
    attributes.be32(SET_KEY_TYPE, type_number(&set.key)).be32(SET_KEY_LENGTH, types_length(&set.key));
    match &set.data {
        Some(DataType::Verdict) => {
            attributes.be32(SET_DATA_TYPE, TYPE_VERDICT);
        }
        Some(DataType::Fields(fields)) => {
            attributes.be32(SET_DATA_TYPE, type_number(fields)).be32(SET_DATA_LENGTH, types_length(fields));
        }
        None => {}
    }
    attributes.be32(SET_ID, number);
    if set.key == [Type::Interface] {
        attributes.bytes(SET_USERDATA, &KEY_IN_HOST_ORDER);
    }
}

/// The number that nft(8) gives a type, six bits for each field of a concatenation. The kernel only keeps it.
pub(crate) fn type_number(fields: &[Type]) -> u32 {
    fields.iter().fold(0, |number, field| {
        let field = match field {
            Type::Ipv4 => 7,
            Type::Ipv6 => 8,
            Type::Hardware => 9,
            Type::Protocol => 12,
            Type::Port => 13,
            Type::Interface => 41,
        };
        number << 6 | field
    })
}

/// The number of a map's data type; 0 for a set.
pub(crate) fn data_type_number(data: Option<&DataType>) -> u32 {
    match data {
        Some(DataType::Verdict) => TYPE_VERDICT,
        Some(DataType::Fields(fields)) => type_number(fields),
        None => 0,
    }
}

/// The length of a key in bytes: in a concatenation each field is padded to four.
fn types_length(fields: &[Type]) -> u32 {
    let length = |field: &Type| match field {
        Type::Interface | Type::Ipv6 => 16,
        Type::Ipv4 => 4,
        Type::Hardware => 6,
        Type::Protocol => 1,
        Type::Port => 2,
    };
    match fields {
        [field] => length(field),
        fields => fields.iter().map(|field| length(field).next_multiple_of(4)).sum(),
    }
}

/// A key or data as the kernel keeps it.
pub(crate) fn fields_bytes(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::Interface(name) => bytes.extend_from_slice(&interface_bytes(name)),
            Field::Hardware(address) => bytes.extend_from_slice(&address.0),
            Field::Address(address) => bytes.extend_from_slice(&octets(*address)),
            Field::Protocol(protocol) => bytes.push(protocol_number(*protocol)),
            Field::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
        }
        if fields.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

pub(super) fn interface_bytes(name: &InterfaceName) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.as_str().bytes()).for_each(|(to, from)| *to = from);
    bytes
}

pub(super) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn base_attributes(attributes: &mut Attributes, base: &Base) {
    attributes
        .nest(CHAIN_HOOK, |hook| {
            hook.be32(HOOK_NUMBER, base.hook as u32).be32(HOOK_PRIORITY, base.priority.cast_unsigned());
        })
        .be32(CHAIN_POLICY, u32::from(!base.drop))
        .string(CHAIN_TYPE, kind_name(base.kind));
}

/// The name of a chain's type.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Filter => "filter",
        Kind::Nat => "nat",
    }
}

fn rule_attributes(attributes: &mut Attributes, rule: &Rule) {
    rule_attributes_of(attributes, &rule.matches, &rule.action, &comment_bytes(rule.comment));
}

/// The expressions of a rule, and its user data.
pub(crate) fn rule_attributes_of(
    attributes: &mut Attributes,
    matches: &[Match],
    action: &Action,
    user_data: &[u8],
) {
    attributes.nest(RULE_EXPRESSIONS, |list| {
        matches.iter().for_each(|condition| push_match(list, condition));
        push_action(list, action);
    });
    attributes.bytes(RULE_USERDATA, user_data);
}

/// A comment where nft(8) looks for it: type 0, length, text with a NUL.
pub(crate) fn comment_bytes(comment: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(comment.as_bytes());
    bytes.push(0);
    bytes
}
