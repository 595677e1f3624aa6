//! `network shape`: how fast, how late and how reliably a container sends and gets packets in a network.

use std::collections::BTreeMap;

use client::Request;
use serde_json::json;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::text("egress-delay", "How much later what the container sends arrives, such as 50ms"),
    Flag::text("egress-loss", "How much of what the container sends is lost, such as 1%"),
    Flag::text("egress-rate", "How much the container may send, such as 10mbit a second"),
    Flag::text("ingress-delay", "How much later the container gets packets, such as 50ms"),
    Flag::text("ingress-loss", "How many packets for the container are lost, such as 1%"),
    Flag::text("ingress-rate", "How much the container may get, such as 10mbit a second"),
];

/// `network shape`.
pub(crate) static SHAPE: Command = Command {
    synopsis: "[OPTIONS] NETWORK CONTAINER",
    about: "Change how fast and how reliably a container sends and gets packets (an empty value lifts a limit)",
    paths: &["network shape"],
    flags: &[FLAGS],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(shape(session, typed)),
};

async fn shape(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let given = FLAGS.iter().filter(|flag| typed.given(flag.long));
    let options: BTreeMap<String, &str> = given
        .map(|flag| (format!("berth.endpoint.{}", flag.long.replace('-', "_")), typed.text(flag.long)))
        .collect();
    let body = json!({ "Container": typed.operand(1), "EndpointConfig": { "DriverOpts": options } });
    let client = session.daemon().await?;
    client.call(Request::post(format!("/networks/{}/shape", typed.operand(0))).json(&body)).await?;
    Ok(0)
}
