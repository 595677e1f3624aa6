//! Queues of links: `struct tcmsg` with TCA_ attributes (tc(8), linux/pkt_sched.h).

use crate::netlink::{Message, flag};
use crate::shape::Shape;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const ROOT: u32 = 0xffff_ffff;
/// Our handle, `b:0`.
const HANDLE: u32 = 0x000b_0000;

fn header(index: u32, handle: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    header
}

/// Has a link send as a shape says; replaces what was said before. A rate alone is a token bucket; delay and loss need
/// the kernel's network emulator, which then keeps to the rate as well.
pub(crate) fn shape(index: u32, shape: &Shape) -> Message {
    let name = format!("RTM_NEWQDISC(link {index} {shape})");
    let mut message = Message::new(RTM_NEWQDISC, flag::CREATE | flag::REPLACE, &header(index, HANDLE), name);
    match shape.rate {
        Some(rate) if shape.delay_microseconds == 0 && shape.loss_millionths == 0 => {
            token_bucket(&mut message, rate / 8);
        }
        _ => emulator(&mut message, shape),
    }
    message
}

/// Has a link send as fast as it can again.
pub(crate) fn unshape(index: u32) -> Message {
    Message::new(RTM_DELQDISC, 0, &header(index, 0), format!("RTM_DELQDISC(link {index})"))
}

/// `rate` in bytes per second.
fn token_bucket(message: &mut Message, rate: u64) {
    const PARAMETERS: u16 = 1;
    const RATE64: u16 = 4;
    const BURST: u16 = 6;
    const ETHERNET: u8 = 1;
    // A burst of ten milliseconds, and a queue of fifty more.
    let burst = u32::try_from(rate / 100).unwrap_or(u32::MAX).clamp(16 << 10, 8 << 20);
    let queue = u32::try_from(rate / 20).unwrap_or(u32::MAX).clamp(64 << 10, 64 << 20);
    // tc_tbf_qopt: rate and peak rate of twelve bytes each, limit, buffer, mtu.
    let mut parameters = [0; 36];
    parameters[1] = ETHERNET;
    let slow = u32::try_from(rate).unwrap_or(u32::MAX);
    parameters[8..12].copy_from_slice(&slow.to_ne_bytes());
    parameters[24..28].copy_from_slice(&(burst.saturating_add(queue)).to_ne_bytes());
    message.attributes().string(TCA_KIND, "tbf").nest(TCA_OPTIONS, |options| {
        options.bytes(PARAMETERS, &parameters).u32(BURST, burst);
        if u32::try_from(rate).is_err() {
            options.bytes(RATE64, &rate.to_ne_bytes());
        }
    });
}

fn emulator(message: &mut Message, shape: &Shape) {
    const RATE: u16 = 6;
    const RATE64: u16 = 8;
    const LATENCY64: u16 = 10;
    const PACKETS: u32 = 10_000;
    let loss = u64::from(shape.loss_millionths) * u64::from(u32::MAX) / 1_000_000;
    // tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
    let mut start = [0; 24];
    start[4..8].copy_from_slice(&PACKETS.to_ne_bytes());
    start[8..12].copy_from_slice(&u32::try_from(loss).unwrap_or(u32::MAX).to_ne_bytes());
    message.attributes().string(TCA_KIND, "netem").nest_after(TCA_OPTIONS, &start, |options| {
        let latency = i64::from(shape.delay_microseconds) * 1000;
        options.bytes(LATENCY64, &latency.to_ne_bytes());
        if let Some(rate) = shape.rate.map(|bits| bits / 8) {
            let mut parameters = [0; 16];
            parameters[0..4].copy_from_slice(&u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
            options.bytes(RATE, &parameters);
            if u32::try_from(rate).is_err() {
                options.bytes(RATE64, &rate.to_ne_bytes());
            }
        }
    });
}
