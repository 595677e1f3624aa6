//! What is in the kernel: read back, compared with what should be there, and filters of others that matter.

use std::collections::BTreeMap;

use super::change::{Batch, repair};
use super::encode::{
    A_TABLE, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, DATA_VALUE, DATA_VERDICT, ELEMENT_DATA,
    ELEMENT_KEY, ELEMENTS_LIST, GET_CHAIN, GET_ELEMENTS, GET_RULE, GET_SET, GET_TABLE, HOOK_NUMBER,
    HOOK_PRIORITY, RULE_CHAIN, RULE_USERDATA, SET_ANONYMOUS, SET_DATA_TYPE, SET_FLAGS, SET_KEY_TYPE,
    SET_NAME, TABLE_FLAGS, TABLE_OWNED, TABLE_PERSISTS, VERDICT_CHAIN, comment_bytes, data_type_number,
    fields_bytes, kind_name, request, type_number,
};
use super::ruleset::Ruleset;
use super::table::{Base, Data, Hook, Kind, Place, Set, Table, USER_CHAIN};
use crate::netlink::{Connection, Dumped, Message, Result, attributes, be32_at, find, text};

/// Our tables as the kernel has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    packets: ObservedTable,
    frames: ObservedTable,
    user: ObservedTable,
}

/// One table as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ObservedTable {
    /// Whose it is; `None` when there is none.
    pub(crate) holding: Option<Holding>,
    pub(crate) chains: Vec<ObservedChain>,
    pub(crate) sets: BTreeMap<String, ObservedSet>,
}

/// Whose a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Everybody's, for good.
    Unheld,
    /// Everybody's, until somebody takes it: its owner is gone.
    Orphaned,
    /// A socket's.
    Held,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedChain {
    pub(crate) name: String,
    pub(crate) base: Option<Base>,
    /// The user data of each rule, which is its comment.
    pub(crate) rules: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ObservedSet {
    key_type: u32,
    data_type: u32,
    elements: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A chain of another table that drops forwarded packets unless a rule of its own accepts them. An accept in our table
/// does not overrule it: every base chain has its say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardDrop {
    /// `ip`, `ip6`, `inet` or `bridge`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

impl ObservedSet {
    pub(crate) fn has_type_of(&self, set: &Set) -> bool {
        self.key_type == type_number(&set.key) && self.data_type == data_type_number(set.data.as_ref())
    }
}

impl Observed {
    /// The first difference from what should be there, in words; `None` when there is none. What the administrator
    /// added in chains and sets of other names does not count.
    #[must_use]
    pub fn difference(&self, ruleset: &Ruleset) -> Option<String> {
        let of_frames = || {
            let frames = ruleset.frames()?;
            Some(format!("for frames: {}", self.frames.difference(&frames)?))
        };
        let free = || {
            let held = [Some(&self.packets), ruleset.guard_frames.then_some(&self.frames)];
            let tables = [ruleset.table(), ruleset.frames().unwrap_or_default()];
            let mut pairs = held.into_iter().zip(&tables).filter_map(|(found, table)| Some((found?, table)));
            let is_free = |(found, table): (&ObservedTable, &Table)| match found.holding {
                Some(Holding::Orphaned) => true,
                Some(Holding::Unheld) => found.is_ours_alone(table),
                Some(Holding::Held) | None => false,
            };
            (ruleset.hold && pairs.any(is_free)).then(|| "nobody holds the tables".to_owned())
        };
        let of_user = || Some(format!("for the administrator: {}", self.user.difference(&ruleset.user())?));
        self.packets.difference(&ruleset.table()).or_else(of_frames).or_else(of_user).or_else(free)
    }

    /// The batch that makes the tables do what the ruleset says, whatever is there.
    #[must_use]
    pub fn repair(&self, ruleset: &Ruleset) -> Batch {
        let packets = repair(&self.packets, &ruleset.table(), ruleset.hold);
        let packets = packets.and(repair(&self.user, &ruleset.user(), false));
        match ruleset.frames() {
            Some(frames) => packets.and(repair(&self.frames, &frames, ruleset.hold)),
            None => packets,
        }
    }

    /// Whether forwarding between interfaces that are not ours is dropped, as
    /// [`Ruleset::drop_foreign_forwarding`] has it.
    #[must_use]
    pub fn drops_foreign_forwarding(&self) -> bool {
        let mut bases = self.packets.chains.iter().filter_map(|chain| chain.base);
        bases.find(|base| base.hook == Hook::Forward).is_some_and(|base| base.drop)
    }

    /// Whether there is nothing of our tables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.packets, &self.frames, &self.user]
            .iter()
            .all(|table| table.chains.is_empty() && table.sets.is_empty())
    }
}

impl ObservedTable {
    fn difference(&self, table: &Table) -> Option<String> {
        for (name, set) in &table.sets {
            let Some(found) = self.sets.get(name).filter(|found| found.has_type_of(set)) else {
                return Some(format!("{} {name} is missing", set.word()));
            };
            let wanted =
                set.elements.iter().map(|(key, data)| (fields_bytes(key), data_bytes(data.as_ref())));
            if wanted.collect::<BTreeMap<_, _>>() != found.elements {
                return Some(format!("{} {name} has other elements", set.word()));
            }
        }
        for chain in &table.chains {
            let Some(found) = self.chains.iter().find(|found| found.name == chain.name) else {
                return Some(format!("chain {} is missing", chain.name));
            };
            if found.base != chain.base {
                return Some(format!("chain {} hangs elsewhere, or has another policy", chain.name));
            }
            let wanted = chain.rules.iter().map(|rule| comment_bytes(rule.comment));
            if chain.name != USER_CHAIN && !wanted.eq(found.rules.iter().cloned()) {
                return Some(format!("chain {} has other rules", chain.name));
            }
        }
        None
    }
}

fn data_bytes(data: Option<&Data>) -> Vec<u8> {
    match data {
        None | Some(Data::Accept) => Vec::new(),
        Some(Data::Fields(fields)) => fields_bytes(fields),
        Some(Data::Jump(chain)) => chain.clone().into_bytes(),
    }
}

/// Reads our tables; an absent one is empty.
pub(crate) fn observe(connection: &mut Connection) -> Result<Observed> {
    let packets = observe_table(connection, Place::Packets)?;
    let frames = observe_table(connection, Place::Frames)?;
    Ok(Observed { packets, frames, user: observe_table(connection, Place::User)? })
}

/// Reads one of our tables; an absent one is empty.
pub(crate) fn observe_table(connection: &mut Connection, place: Place) -> Result<ObservedTable> {
    let list = |kind, what: &str| list(place, kind, what);
    let table = list(GET_TABLE, "flags");
    let holding = connection.get(&table, parse_holding)?;
    let mut chains = connection.dump(&list(GET_CHAIN, "chains"), |found, dumped| {
        found.extend(parse_chain(place, dumped)?);
        Some(())
    })?;
    let rules = connection.dump(&list(GET_RULE, "rules"), |found, dumped| {
        found.push(parse_rule(dumped)?);
        Some(())
    });
    for (chain, comment) in absent_is_empty(rules)? {
        if let Some(found) = chains.iter_mut().find(|found| found.name == chain) {
            found.rules.push(comment);
        }
    }
    let sets = connection.dump(&list(GET_SET, "sets"), |found, dumped| {
        found.extend(parse_set(dumped)?);
        Some(())
    });
    let mut sets: BTreeMap<String, ObservedSet> = absent_is_empty(sets)?.into_iter().collect();
    for (name, set) in &mut sets {
        let mut message = list(GET_ELEMENTS, &format!("elements of {name}"));
        message.attributes().string(SET_NAME, name);
        let elements = connection.dump(&message, |found, dumped| {
            found.extend(parse_elements(dumped)?);
            Some(())
        });
        set.elements = absent_is_empty(elements)?.into_iter().collect();
    }
    Ok(ObservedTable { holding, chains, sets })
}

/// A list that was asked of a table which is gone by now is an empty one.
fn absent_is_empty<T>(list: Result<Vec<T>>) -> Result<Vec<T>> {
    match list {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        other => other,
    }
}

fn list(place: Place, kind: u16, what: &str) -> Message {
    let mut message = request(kind, 0, place.family(), format!("list {what} of table {place}"));
    message.attributes().string(A_TABLE, place.table());
    message
}

/// Asks for the chains of all tables.
pub(crate) fn list_all_chains() -> Message {
    request(GET_CHAIN, 0, 0, "list chains".to_owned())
}

const HEADER: usize = 4;

#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
fn parse_chain(place: Place, (_, payload): Dumped<'_>) -> Option<Option<ObservedChain>> {
    let list = attributes(payload.get(HEADER..)?)?;
    if text(find(&list, A_TABLE)?) != place.table() || *payload.first()? != place.family() {
        return Some(None);
    }
    let name = text(find(&list, CHAIN_NAME)?);
    let base = match find(&list, CHAIN_HOOK) {
        Some(hook) => parse_base(hook, find(&list, CHAIN_TYPE)?, find(&list, CHAIN_POLICY)?)?,
        None => None,
    };
    Some(Some(ObservedChain { name, base, rules: Vec::new() }))
}

/// A hook that none of our chains uses reads as none, which is a difference from what the chain should be.
#[expect(clippy::option_option, reason = "a hook that is not ours is not one that is malformed")]
fn parse_base(hook: &[u8], kind: &[u8], policy: &[u8]) -> Option<Option<Base>> {
    let list = attributes(hook)?;
    let number = be32_at(find(&list, HOOK_NUMBER)?, 0)?;
    let priority = be32_at(find(&list, HOOK_PRIORITY)?, 0)?.cast_signed();
    let hooks = [Hook::Prerouting, Hook::Forward, Hook::Output, Hook::Postrouting];
    let hook = hooks.into_iter().find(|hook| *hook as u32 == number);
    let kind = [Kind::Filter, Kind::Nat].into_iter().find(|found| kind_name(*found) == text(kind));
    let drop = be32_at(policy, 0)? == 0;
    Some(hook.zip(kind).map(|(hook, kind)| Base { kind, hook, priority, drop }))
}

fn parse_holding((_, payload): Dumped<'_>) -> Option<Holding> {
    let list = attributes(payload.get(HEADER..)?)?;
    let flags = find(&list, TABLE_FLAGS).and_then(|bytes| be32_at(bytes, 0)).unwrap_or_default();
    Some(match (flags & TABLE_OWNED != 0, flags & TABLE_PERSISTS != 0) {
        (true, _) => Holding::Held,
        (false, true) => Holding::Orphaned,
        (false, false) => Holding::Unheld,
    })
}

fn parse_rule((_, payload): Dumped<'_>) -> Option<(String, Vec<u8>)> {
    let list = attributes(payload.get(HEADER..)?)?;
    let comment = find(&list, RULE_USERDATA).unwrap_or_default();
    Some((text(find(&list, RULE_CHAIN)?), comment.to_vec()))
}

#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
fn parse_set((_, payload): Dumped<'_>) -> Option<Option<(String, ObservedSet)>> {
    let list = attributes(payload.get(HEADER..)?)?;
    let number = |kind| find(&list, kind).and_then(|bytes| be32_at(bytes, 0)).unwrap_or_default();
    if number(SET_FLAGS) & SET_ANONYMOUS != 0 {
        return Some(None);
    }
    let set = ObservedSet {
        key_type: number(SET_KEY_TYPE),
        data_type: number(SET_DATA_TYPE),
        elements: BTreeMap::new(),
    };
    Some(Some((text(find(&list, SET_NAME)?), set)))
}

fn parse_elements((_, payload): Dumped<'_>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = attributes(payload.get(HEADER..)?)?;
    let Some(elements) = find(&list, ELEMENTS_LIST) else { return Some(Vec::new()) };
    attributes(elements)?
        .into_iter()
        .map(|(_, element)| {
            let element = attributes(element)?;
            let key = attributes(find(&element, ELEMENT_KEY)?)?;
            let data = find(&element, ELEMENT_DATA).map_or(Some(Vec::new()), attributes)?;
            let value = match find(&data, DATA_VERDICT) {
                Some(verdict) => {
                    find(&attributes(verdict)?, VERDICT_CHAIN).map(text).unwrap_or_default().into_bytes()
                }
                None => find(&data, DATA_VALUE).unwrap_or_default().to_vec(),
            };
            Some((find(&key, DATA_VALUE)?.to_vec(), value))
        })
        .collect()
}

/// Reads a chain that drops forwarded packets and is not ours; `Some(None)` for every other chain.
#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
pub(crate) fn parse_forward_drop((_, payload): Dumped<'_>) -> Option<Option<ForwardDrop>> {
    let family = match *payload.first()? {
        1 => "inet",
        2 => "ip",
        7 => "bridge",
        10 => "ip6",
        _ => return Some(None),
    };
    let list = attributes(payload.get(HEADER..)?)?;
    let table = text(find(&list, A_TABLE)?);
    let (Some(hook), Some(policy)) = (find(&list, CHAIN_HOOK), find(&list, CHAIN_POLICY)) else {
        return Some(None);
    };
    let forward = be32_at(find(&attributes(hook)?, HOOK_NUMBER)?, 0)? == Hook::Forward as u32;
    let ours = Place::of_ours(*payload.first()?, &table);
    let drops = be32_at(policy, 0)? == 0;
    let chain = text(find(&list, CHAIN_NAME)?);
    Some((forward && drops && !ours).then_some(ForwardDrop { family, table, chain }))
}
