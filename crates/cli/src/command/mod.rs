//! The commands, a file for each or for a few of one kind: flags, and what `run` does with them.

pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod context;
pub(crate) mod context_transfer;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod dial_stdio;
pub(crate) mod disk_usage;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image_files;
pub(crate) mod image_names;
pub(crate) mod image_tree;
pub(crate) mod images;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod live;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod look;
pub(crate) mod network;
pub(crate) mod network_shape;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod update;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod volume_content;

pub(crate) use version::version_line;
