//! Endpoints that are slow, late or lossy, measured with real traffic.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use network::plan::plan_shape;
use network::{Endpoint, Network, Shape, Shaping};
use support::{Namespace, World, bridge, can_run, endpoint, kernel_has};

/// How long these bytes take from one namespace to the other.
fn transfer(from: &Namespace, to: &Namespace, address: &str, bytes: usize) -> Duration {
    let listener = to.within(|| TcpListener::bind((address, 0)).unwrap());
    let place = listener.local_addr().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    let mut stream = from.within(|| TcpStream::connect(place).unwrap());
    let begin = Instant::now();
    stream.write_all(&vec![0; bytes]).unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), bytes);
    begin.elapsed()
}

struct Shaped {
    world: World,
    container: Namespace,
    endpoint: Endpoint,
}

impl Shaped {
    fn new(shaping: Shaping) -> Self {
        let world = World::new();
        world
            .host
            .within(|| Network::open().unwrap().ensure_bridge(&bridge("br0", &["172.18.0.1/16"])))
            .unwrap();
        let container = Namespace::of_container();
        let endpoint = Endpoint { shaping, ..endpoint("br0", 2, &["172.18.0.2/16"], &["172.18.0.1"]) };
        world.host.within(|| Network::open().unwrap().attach(container.fd(), &endpoint)).unwrap();
        Self { world, container, endpoint }
    }

    /// Changes the shape of the endpoint while it is there.
    fn change(&mut self, shaping: Shaping) -> Result<(), network::Error> {
        self.endpoint.shaping = shaping;
        let plan = plan_shape(&self.endpoint);
        self.world.host.within(|| Network::open().unwrap().apply(&plan, Some(self.container.fd())))
    }

    /// Seconds that a quarter of a megabyte takes out of the container and into it.
    fn seconds(&self) -> (f64, f64) {
        const BYTES: usize = 250_000;
        let out = transfer(&self.container, &self.world.host, "172.18.0.1", BYTES);
        (out.as_secs_f64(), transfer(&self.world.host, &self.container, "172.18.0.2", BYTES).as_secs_f64())
    }
}

impl Shaped {
    /// Whether what goes out, and what comes in, is as slow as [`SLOW`] makes it: each time, or not each time.
    fn are_slow(&self, out: bool, into: bool) {
        // Two megabits take half a second at four a second, but for the burst.
        const SLOW_SECONDS: f64 = 0.35;
        let mut fastest = (f64::MAX, f64::MAX);
        for _ in 0..50 {
            let seconds = self.seconds();
            fastest = (fastest.0.min(seconds.0), fastest.1.min(seconds.1));
            // A machine that is busy is slow without our doing: it is asked again.
            if (fastest.0 >= SLOW_SECONDS, fastest.1 >= SLOW_SECONDS) == (out, into) {
                return;
            }
            assert!(!(out && fastest.0 < SLOW_SECONDS || into && fastest.1 < SLOW_SECONDS), "{fastest:?}");
        }
        panic!("slower than it should be: {fastest:?}");
    }
}

const SLOW: Shape = Shape { rate: Some(4_000_000), delay_microseconds: 0, loss_millionths: 0 };
const FREE: Shape = Shape { rate: None, delay_microseconds: 0, loss_millionths: 0 };

#[test]
fn an_endpoint_sends_and_gets_no_faster_than_it_may() {
    if !can_run() {
        return;
    }
    let mut shaped = Shaped::new(Shaping { egress: SLOW, ingress: FREE });
    shaped.are_slow(true, false);
    shaped.change(Shaping { egress: FREE, ingress: SLOW }).unwrap();
    shaped.are_slow(false, true);
    let faster = Shape { rate: Some(400_000_000), ..SLOW };
    shaped.change(Shaping { egress: faster, ingress: faster }).unwrap();
    shaped.are_slow(false, false);
    for _ in 0..2 {
        shaped.change(Shaping::default()).unwrap();
    }
    let queues = shaped.container.run("tc", &["qdisc", "show", "dev", "eth0"]);
    assert!(!queues.contains("tbf"), "{queues}");
}

#[test]
fn packets_are_late_and_lost_where_the_kernel_can_do_that() {
    if !can_run() {
        return;
    }
    let mut shaped = Shaped::new(Shaping::default());
    let late = Shape { delay_microseconds: 100_000, ..FREE };
    let changed = shaped.change(Shaping { egress: late, ingress: FREE });
    let tried = (changed.is_ok(), changed.map_err(|error| error.to_string()).err().unwrap_or_default());
    if !kernel_has("sch_netem", tried) {
        return;
    }
    let _server = shaped.world.host.serve_udp(7, "echo");
    let round = |shaped: &Shaped| {
        let begin = Instant::now();
        shaped.container.ask_udp("172.18.0.1:7").map(|_| begin.elapsed())
    };
    let least = |shaped: &Shaped| (0..20).filter_map(|_| round(shaped).ok()).min().unwrap();
    assert!(least(&shaped) >= Duration::from_millis(95), "{:?}", least(&shaped));
    let later = Shape { delay_microseconds: 200_000, ..FREE };
    shaped.change(Shaping { egress: FREE, ingress: later }).unwrap();
    assert!(least(&shaped) >= Duration::from_millis(195), "{:?}", least(&shaped));
    let lossy = |millionths| Shape { loss_millionths: millionths, ..FREE };
    shaped.change(Shaping { egress: lossy(1_000_000), ingress: FREE }).unwrap();
    assert!(round(&shaped).is_err());
    // Of forty packets some are lost and some come: by chance otherwise once in 10^11 times.
    shaped.change(Shaping { egress: FREE, ingress: lossy(500_000) }).unwrap();
    assert_eq!([true, false].map(|come| (0..40).any(|_| round(&shaped).is_ok() == come)), [true, true]);
    // A rate and a delay together are the emulator's as well.
    let both = Shape { delay_microseconds: 50_000, ..SLOW };
    shaped.change(Shaping { egress: both, ingress: FREE }).unwrap();
    assert!(least(&shaped) >= Duration::from_millis(45));
    shaped.are_slow(true, false);
    shaped.change(Shaping::default()).unwrap();
    let queues = shaped.container.run("tc", &["qdisc", "show", "dev", "eth0"]);
    assert!(!queues.contains("netem"), "{queues}");
}
