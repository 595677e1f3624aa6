//! Every check of the suite, by the part of the surface it belongs to.

mod attach;
mod exec;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod logs;
mod network;
mod protocol;
mod recovery;
mod refusals;
mod run;
mod terminals;

use crate::check::Check;

/// All checks, in the order in which they are run.
pub(crate) fn all() -> Vec<Check> {
    let areas = [
        protocol::checks,
        images::checks,
        run::checks,
        lifecycle::checks,
        logs::checks,
        exec::checks,
        attach::checks,
        terminals::checks,
        isolation::checks,
        limits::checks,
        network::checks,
        refusals::checks,
        recovery::checks,
    ];
    areas.into_iter().flat_map(|checks| checks()).collect()
}
