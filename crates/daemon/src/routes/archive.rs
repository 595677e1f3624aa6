//! `/containers/{id}/archive` and `/export`: files of a container as tar archives.

use super::Request;
use crate::server::failure::Failure;
use crate::server::router::Outcome;

pub(super) async fn head(_: Request) -> Outcome {
    Err(Failure::not_implemented("copying files out of a container"))
}

pub(super) async fn get(_: Request) -> Outcome {
    Err(Failure::not_implemented("copying files out of a container"))
}

pub(super) async fn put(_: Request) -> Outcome {
    Err(Failure::not_implemented("copying files into a container"))
}

pub(super) async fn export(_: Request) -> Outcome {
    Err(Failure::not_implemented("exporting a container"))
}
