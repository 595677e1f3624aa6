//! Answers of nameservers and the host's files, fed with mutated seeds.

use crate::files::{Configuration, in_hosts};
use crate::message::{Kind, question, read};

#[test]
fn answers() {
    let asked = question(7, "registry.example.com", Kind::A).expect("a question");
    let mut answered = asked.clone();
    answered[2] = 0x81;
    answered[3] = 0x80;
    answered[7] = 2;
    let alias = [&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'a', 0xc0, 21][..]].concat();
    let address = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1];
    let seeds = [
        [answered.clone(), alias, address.to_vec()].concat(),
        [answered.clone(), address.to_vec(), address.to_vec()].concat(),
        answered,
        asked,
    ];
    fuzz::bytes("answers", &seeds, |bytes| {
        let read = |kind| read(bytes, 7, "registry.example.com", kind);
        let told = read(Kind::A).map(|answer| format!("{answer:?}"));
        // The words of an answer tell the ways apart, as those of an error do.
        told.map_or(Ok(read(Kind::Aaaa)), Err)
    });
}

#[test]
fn files() {
    let seeds = [
        "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:5 timeout:1 attempts:2\n",
        "127.0.0.1 localhost\n::1 localhost ip6-localhost # all\n10.0.0.7\thost\n",
        "domain x\noptions ndots:99999999999 rotate\n",
    ];
    fuzz::text("files", &seeds, |text| {
        let names = Configuration::parse(text).candidates("host");
        names.len() * 10 + in_hosts(text, "host").len()
    });
}
