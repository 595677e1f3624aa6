//! What plugins answer and where their files say they are, fed with mutated seeds.

use super::discover::address;
use super::http::parse;

#[test]
fn answers() {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ];
    fuzz::bytes("answers", &seeds.map(str::as_bytes), |bytes| {
        let whole = parse(bytes, true)?;
        if let Some((_, body)) = &whole {
            assert!(body.len() <= bytes.len(), "{} bytes in {}", body.len(), bytes.len());
        }
        parse(bytes, false).map(|found| found.is_some())
    });
}

#[test]
fn addresses() {
    let seeds = [
        "unix:///run/x.sock\n",
        "{\"Name\":\"x\",\"Addr\":\"unix:///run/x.sock\"}",
        "tcp://10.0.0.1:1",
        "unix://../x",
    ];
    fuzz::text("addresses", &seeds, |text| address("x", text, false).or_else(|_| address("x", text, true)));
}
