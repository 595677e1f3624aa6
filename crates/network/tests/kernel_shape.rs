//! Endpoints that are slow, late or lossy, measured with real traffic.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use network::plan::plan_shape;
use network::{Endpoint, Network, Shape, Shaping};
use support::{Namespace, World, bridge, can_run, endpoint};

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

const SLOW: Shape = Shape { rate: Some(4_000_000), delay_microseconds: 0, loss_millionths: 0 };
const FREE: Shape = Shape { rate: None, delay_microseconds: 0, loss_millionths: 0 };

#[test]
fn an_endpoint_sends_and_gets_no_faster_than_it_may() {
    if !can_run() {
        return;
    }
    // Two megabits take half a second at four a second, but for the burst.
    let slow = 0.35..2.0;
    let mut shaped = Shaped::new(Shaping { egress: SLOW, ingress: FREE });
    let (out, into) = shaped.seconds();
    assert!(slow.contains(&out) && into < 0.3, "{out} {into}");
    shaped.change(Shaping { egress: FREE, ingress: SLOW }).unwrap();
    let (out, into) = shaped.seconds();
    assert!(out < 0.3 && slow.contains(&into), "{out} {into}");
    let faster = Shape { rate: Some(400_000_000), ..SLOW };
    shaped.change(Shaping { egress: faster, ingress: faster }).unwrap();
    let (out, into) = shaped.seconds();
    assert!(out < 0.3 && into < 0.3, "{out} {into}");
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
    match shaped.change(Shaping { egress: late, ingress: FREE }) {
        Err(error) if error.to_string().contains("ENOENT") || error.to_string().contains("EOPNOTSUPP") => {
            println!("SKIP: {error}");
            return;
        }
        outcome => outcome.unwrap(),
    }
    let ping = |shaped: &Shaped, count: &str| {
        shaped.container.try_run("ping", &["-q", "-i", "0.01", "-W", "1", "-c", count, "172.18.0.1"])
    };
    let begin = Instant::now();
    assert!(ping(&shaped, "1").0);
    assert!(begin.elapsed() >= Duration::from_millis(95), "{:?}", begin.elapsed());
    let lossy = Shape { loss_millionths: 1_000_000, ..FREE };
    shaped.change(Shaping { egress: lossy, ingress: FREE }).unwrap();
    assert!(!ping(&shaped, "3").0);
}
