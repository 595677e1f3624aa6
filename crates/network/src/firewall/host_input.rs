//! What the host's own firewall says about packets for the host: its filters of incoming packets, read from nf_tables.
//!
//! ufw, firewalld and people write these; we read them to tell whether a published port goes past them. Rules of
//! iptables-legacy cannot be seen over netlink.

use std::collections::BTreeMap;

use super::encode::{
    A_TABLE, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, DATA_VALUE, DATA_VERDICT, ELEMENT_DATA,
    ELEMENT_KEY, ELEMENTS_LIST, GET_CHAIN, GET_ELEMENTS, GET_RULE, GET_SET, HOOK_NUMBER, HOOK_PRIORITY,
    RULE_CHAIN, RULE_EXPRESSIONS, SET_KEY_LENGTH, SET_NAME, VERDICT_CHAIN, VERDICT_CODE, request,
};
use super::host_rule::{Expression, Verdict};
use super::table::Place;
use crate::netlink::{Connection, Dumped, Message, Result, attributes, be32_at, find, text};

/// The filters of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostInput {
    pub(crate) tables: BTreeMap<TableKey, HostTable>,
}

/// Number of a family, and a name.
pub(crate) type TableKey = (u8, String);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostTable {
    pub(crate) chains: BTreeMap<String, HostChain>,
    pub(crate) sets: BTreeMap<String, HostSet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostChain {
    /// `Some` for one that incoming packets enter from the kernel: its priority, and whether it drops at its end.
    pub(crate) input: Option<(i32, bool)>,
    pub(crate) rules: Vec<Vec<Expression>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostSet {
    pub(crate) key_bytes: usize,
    pub(crate) elements: Vec<HostElement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostElement {
    pub(crate) key: Vec<u8>,
    /// The first key past an interval that began before.
    pub(crate) ends_interval: bool,
    /// A range of several fields, which is not worked out.
    pub(crate) is_range: bool,
    pub(crate) verdict: Option<Verdict>,
}

const HEADER: usize = 4;
const HOOK_INPUT: u32 = 1;
const FAMILIES: [u8; 3] = [1, 2, 10];

/// Reads the tables that filter incoming packets.
pub(crate) fn read_host_input(connection: &mut Connection) -> Result<HostInput> {
    let chains = connection.dump(&request(GET_CHAIN, 0, 0, "list chains".to_owned()), |found, dumped| {
        found.extend(parse_chain(dumped)?);
        Some(())
    })?;
    let filters: Vec<TableKey> =
        chains.iter().filter(|(.., chain)| chain.input.is_some()).map(|(key, ..)| key.clone()).collect();
    let mut host = HostInput::default();
    for (key, name, chain) in chains.into_iter().filter(|(key, ..)| filters.contains(key)) {
        host.tables.entry(key).or_default().chains.insert(name, chain);
    }
    for (key, table) in &mut host.tables {
        let rules = absent_is_empty(connection.dump(&list(key, GET_RULE, "rules"), |found, dumped| {
            found.push(parse_rule(dumped)?);
            Some(())
        }))?;
        for (chain, rule) in rules {
            if let Some(chain) = table.chains.get_mut(&chain) {
                chain.rules.push(rule);
            }
        }
        let sets = absent_is_empty(connection.dump(&list(key, GET_SET, "sets"), |found, dumped| {
            found.push(parse_set(dumped)?);
            Some(())
        }))?;
        for (name, key_bytes) in sets {
            let mut message = list(key, GET_ELEMENTS, &format!("elements of {name}"));
            message.attributes().string(SET_NAME, &name);
            let elements = absent_is_empty(connection.dump(&message, |found, dumped| {
                found.extend(parse_elements(dumped)?);
                Some(())
            }))?;
            table.sets.insert(name, HostSet { key_bytes, elements });
        }
    }
    Ok(host)
}

fn list((family, table): &TableKey, kind: u16, what: &str) -> Message {
    let mut message = request(kind, 0, *family, format!("list {what} of table {table}"));
    message.attributes().string(A_TABLE, table);
    message
}

/// A list that was asked of a table which is gone by now is an empty one.
fn absent_is_empty<T>(list: Result<Vec<T>>) -> Result<Vec<T>> {
    match list {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        other => other,
    }
}

#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
fn parse_chain((_, payload): Dumped<'_>) -> Option<Option<(TableKey, String, HostChain)>> {
    let family = *payload.first()?;
    let list = attributes(payload.get(HEADER..)?)?;
    let table = text(find(&list, A_TABLE)?);
    if !FAMILIES.contains(&family) || Place::of_ours(family, &table) {
        return Some(None);
    }
    let kind = find(&list, CHAIN_TYPE).map(text);
    let input = match (find(&list, CHAIN_HOOK), find(&list, CHAIN_POLICY)) {
        (Some(hook), Some(policy)) if kind.as_deref() == Some("filter") => {
            let hook = attributes(hook)?;
            let priority = be32_at(find(&hook, HOOK_PRIORITY)?, 0)?.cast_signed();
            let comes_in = be32_at(find(&hook, HOOK_NUMBER)?, 0)? == HOOK_INPUT;
            comes_in.then_some((priority, be32_at(policy, 0)? == 0))
        }
        _ => None,
    };
    let name = text(find(&list, CHAIN_NAME)?);
    Some(Some(((family, table), name, HostChain { input, rules: Vec::new() })))
}

fn parse_rule((_, payload): Dumped<'_>) -> Option<(String, Vec<Expression>)> {
    let list = attributes(payload.get(HEADER..)?)?;
    let expressions = match find(&list, RULE_EXPRESSIONS) {
        Some(expressions) => attributes(expressions)?,
        None => Vec::new(),
    };
    // What is newer than this does not keep the rest from being read.
    let read = |(_, one)| Expression::parse(one).unwrap_or(Expression::Unknown);
    Some((text(find(&list, RULE_CHAIN)?), expressions.into_iter().map(read).collect()))
}

fn parse_set((_, payload): Dumped<'_>) -> Option<(String, usize)> {
    let list = attributes(payload.get(HEADER..)?)?;
    let length = be32_at(find(&list, SET_KEY_LENGTH)?, 0)?;
    Some((text(find(&list, SET_NAME)?), usize::try_from(length).ok()?))
}

fn parse_elements((_, payload): Dumped<'_>) -> Option<Vec<HostElement>> {
    const FLAGS: u16 = 3;
    const KEY_END: u16 = 10;
    const ENDS_INTERVAL: u32 = 1;
    let list = attributes(payload.get(HEADER..)?)?;
    let Some(elements) = find(&list, ELEMENTS_LIST) else { return Some(Vec::new()) };
    let parse = |(_, element): (u16, &[u8])| {
        let element = attributes(element)?;
        let value = |kind| {
            let data = find(&element, kind).and_then(attributes)?;
            find(&data, DATA_VALUE).map(<[u8]>::to_vec)
        };
        let verdict = find(&element, ELEMENT_DATA)
            .and_then(attributes)
            .and_then(|data| parse_verdict(find(&data, DATA_VERDICT)?));
        let flags = find(&element, FLAGS).and_then(|bytes| be32_at(bytes, 0)).unwrap_or_default();
        let key = value(ELEMENT_KEY).unwrap_or_default();
        Some(HostElement {
            ends_interval: flags & ENDS_INTERVAL != 0,
            is_range: value(KEY_END).is_some_and(|end| end != key),
            key,
            verdict,
        })
    };
    attributes(elements)?.into_iter().map(parse).collect()
}

/// Reads a verdict; one that only the kernel uses reads as none.
pub(super) fn parse_verdict(bytes: &[u8]) -> Option<Verdict> {
    let list = attributes(bytes)?;
    let chain = find(&list, VERDICT_CHAIN).map(text);
    Some(match (be32_at(find(&list, VERDICT_CODE)?, 0)?.cast_signed(), chain) {
        (0, _) => Verdict::Drop,
        (1, _) => Verdict::Accept,
        (-3, Some(chain)) => Verdict::Jump(chain),
        (-4, Some(chain)) => Verdict::Goto(chain),
        (-5, _) => Verdict::Return,
        (-1, _) => Verdict::Continue,
        _ => Verdict::Unknown,
    })
}
