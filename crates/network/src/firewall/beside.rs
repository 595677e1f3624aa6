//! Getting along with iptables: its FORWARD chain may drop by default, and then drops what our table lets through.
//!
//! Docker, ufw and others set that policy. Rules at the head of the chain accept what goes through our bridges; that
//! only ends the chain they are in, so our own table still decides. Chains of other tables are the administrator's own
//! words and are left alone: they are reported.

use std::collections::BTreeSet;

use super::encode::{A_TABLE, RULE_CHAIN, RULE_HANDLE, RULE_USERDATA, comment_bytes, rule_attributes_of};
use super::encode::{DELETE_RULE, GET_RULE, NEW_RULE, batch_begin, batch_end, request};
use super::observe::{ForwardDrop, list_all_chains, parse_forward_drop};
use super::table::{Action, Direction, Match};
use crate::interface::InterfaceName;
use crate::netlink::{Connection, Dumped, Message, Result, attributes, find, flag};

/// The two chains that iptables and ip6tables make of FORWARD, where they speak nf_tables.
fn of_iptables(drop: &ForwardDrop) -> Option<u8> {
    let family = [("ip", 2), ("ip6", 10)].into_iter().find(|(name, _)| *name == drop.family)?.1;
    (drop.table == "filter" && drop.chain == "FORWARD").then_some(family)
}

/// Makes the rules be there for these bridges and no others, and returns the chains that may drop what ours lets
/// through all the same.
pub(crate) fn accept_bridges(
    connection: &mut Connection,
    bridges: &BTreeSet<InterfaceName>,
) -> Result<Vec<ForwardDrop>> {
    let drops = connection.dump(&list_all_chains(), |list, dumped| {
        list.extend(parse_forward_drop(dumped)?);
        Some(())
    })?;
    let mut messages = Vec::new();
    let mut remaining = Vec::new();
    for drop in drops {
        match of_iptables(&drop) {
            Some(family) => messages.extend(correct(connection, family, bridges)?),
            None => remaining.push(drop),
        }
    }
    connection.transact(&batch_begin(), &messages, &batch_end())?;
    Ok(remaining)
}

/// The messages that replace our rules in one chain; none when they are as they should be.
fn correct(
    connection: &mut Connection,
    family: u8,
    bridges: &BTreeSet<InterfaceName>,
) -> Result<Vec<Message>> {
    let found = connection.dump(&chain_request(GET_RULE, 0, family, "list rules"), |list, dumped| {
        list.extend(parse_rule(dumped)?);
        Some(())
    })?;
    let wanted: Vec<(Vec<u8>, Match)> = bridges
        .iter()
        .flat_map(|bridge| {
            [(Direction::Out, "to"), (Direction::In, "from")].map(|(direction, word)| {
                (
                    comment_bytes(&format!("{PREFIX}{word} {bridge}")),
                    Match::Interface(direction, bridge.clone()),
                )
            })
        })
        .collect();
    let present: BTreeSet<&[u8]> = found.iter().map(|(_, comment)| comment.as_slice()).collect();
    if found.len() == wanted.len() && wanted.iter().all(|(comment, _)| present.contains(comment.as_slice())) {
        return Ok(Vec::new());
    }
    let mut messages = Vec::new();
    for (handle, _) in &found {
        let mut message = chain_request(DELETE_RULE, 0, family, "delete rule");
        message.attributes().bytes(RULE_HANDLE, handle);
        messages.push(message);
    }
    for (comment, condition) in &wanted {
        let mut message =
            chain_request(NEW_RULE, flag::CREATE, family, &format!("insert rule {condition} accept"));
        rule_attributes_of(message.attributes(), std::slice::from_ref(condition), &Action::Accept, comment);
        messages.push(message);
    }
    Ok(messages)
}

/// What the comments of our rules begin with.
const PREFIX: &str = "berth: ";

fn chain_request(kind: u16, flags: u16, family: u8, what: &str) -> Message {
    let name = if family == 2 { "ip" } else { "ip6" };
    let mut message = request(kind, flags, family, format!("{what} in {name} filter FORWARD"));
    message.attributes().string(A_TABLE, "filter").string(RULE_CHAIN, "FORWARD");
    message
}

/// Reads the handle and the comment of a rule of ours; `Some(None)` for one of others.
#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
fn parse_rule((_, payload): Dumped<'_>) -> Option<Option<(Vec<u8>, Vec<u8>)>> {
    let list = attributes(payload.get(4..)?)?;
    let comment = find(&list, RULE_USERDATA).unwrap_or_default();
    let ours = comment.get(2..).is_some_and(|text| text.starts_with(PREFIX.as_bytes()));
    let chain = find(&list, RULE_CHAIN)?;
    Some((ours && chain == b"FORWARD\0").then_some((find(&list, RULE_HANDLE)?.to_vec(), comment.to_vec())))
}
