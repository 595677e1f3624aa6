//! Every answer that passes between clients and the engine, compared with what the Engine API says of it.

mod compare;
mod facts;
mod tap;
mod wire;

pub(crate) use tap::Tap;
