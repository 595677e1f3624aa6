//! Tar archives on this side of `cp`: packing files of the user's, unpacking files of a container's.

#[cfg(test)]
mod fuzz;
pub(crate) mod pack;
pub(crate) mod unpack;
